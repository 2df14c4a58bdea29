import { runService, serveCommand } from '@jetlane/nestjs/service';
import { Audit } from './audit/audit.js';
import { AuditLog } from './audit/audit-log.js';
import { auditModule } from './audit/dead-letter-facts.js';
import { queueManagerConfig } from './config.js';
import { DefinitionCommands } from './definitions/definition-commands.js';
import { FileSource } from './definitions/file-source.js';
import { exposeGauges, exposeLag } from './gauges.js';
import { LiveWorkersComponent } from './live/live-component.js';
import { QueueManager } from './queue-manager.js';
import { SearchComponent } from './search/search-component.js';
import { readStatsInput } from './stats-input.js';
import { Steering } from './steering/steering.js';

await runService({
  config: () => queueManagerConfig(),
  module: auditModule,
  readsEvents: true,
  components: async ({ config, connection, logger, meter, health }) => {
    const audit = await Audit.open(connection);
    const manager = new QueueManager(connection, { log: logger });
    health.add('queues', () => manager.health());
    exposeGauges(meter, manager);
    const live = new LiveWorkersComponent(connection);
    const search = new SearchComponent(connection, { ...config.search, log: logger, alive: (queue) => live.workers.alive(queue) });
    exposeLag(meter, search);
    const commands: (() => void)[] = [];
    const serve = (command: string, handler: (input: unknown) => unknown) =>
      commands.push(serveCommand(connection, config.name, command, async (input) => handler(input)));
    return [
      new FileSource(connection, manager.store, audit, { file: config.queuesFile, log: logger }),
      manager,
      new Steering(connection, { log: logger }),
      new AuditLog(connection),
      new DefinitionCommands(connection, manager.store, manager.provisioner, audit),
      {
        start: async () => {
          serve('stats', (input) => manager.stats(readStatsInput(input).queue));
          serve('queues', () => manager.queues());
          serve('reconcile', async () => ({ repaired: await manager.reconcile() }));
        },
        stop: async () => commands.forEach((stop) => void stop()),
      },
      live,
      search,
    ];
  },
});
