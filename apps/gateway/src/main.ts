import { runService } from '@jetlane/nestjs/service';
import { gatewayService } from './service.js';

await runService(gatewayService());
