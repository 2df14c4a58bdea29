import { runService } from '@jetlane/nestjs/service';
import { resiliencyService } from './service.js';

await runService(resiliencyService());
