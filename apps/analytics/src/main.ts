import { runService } from '@jetlane/nestjs/service';
import { Analytics } from './analytics.component.js';
import { readConfig } from './config.js';

await runService({ config: readConfig, components: (context) => [new Analytics(context)] });
