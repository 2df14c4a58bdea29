import { runService, serveCommand } from '@jetlane/nestjs/service';
import { Audit } from './audit/audit.js';
import { queueManagerConfig } from './config.js';
import { DefinitionCommands } from './definitions/definition-commands.js';
import { FileSource } from './definitions/file-source.js';
import { exposeGauges } from './gauges.js';
import { QueueManager } from './queue-manager.js';
import { readStatsInput } from './stats-input.js';

await runService({
  config: queueManagerConfig,
  components: async ({ config, connection, logger, meter, health }) => {
    const audit = await Audit.open(connection);
    const manager = new QueueManager(connection, { log: logger });
    health.add('queues', () => manager.health());
    exposeGauges(meter, manager);
    const commands: (() => void)[] = [];
    const serve = (command: string, handler: (input: unknown) => unknown) =>
      commands.push(serveCommand(connection, config.name, command, async (input) => handler(input)));
    return [
      new FileSource(connection, manager.store, audit, { file: config.queuesFile, log: logger }),
      manager,
      new DefinitionCommands(connection, manager.store, manager.provisioner, audit),
      {
        start: async () => {
          serve('stats', (input) => manager.stats(readStatsInput(input).queue));
          serve('queues', () => manager.queues());
          serve('reconcile', async () => ({ repaired: await manager.reconcile() }));
        },
        stop: async () => commands.forEach((stop) => void stop()),
      },
    ];
  },
});
