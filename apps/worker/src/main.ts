import { runService } from '@jetlane/nestjs/service';
import { readWorkerConfig } from './config.js';
import { WorkerHost } from './worker-host.js';

await runService({ config: () => readWorkerConfig(), components: (context) => [new WorkerHost(context)] });
