import { queueManagerConfig } from '../config.js';
import { report } from './finding.js';
import { validate } from './validate.js';

// npm run validate: says what is wrong with an installation and how to mend it; ends with 1 when something does not work.
try {
  const findings = await validate(queueManagerConfig());
  console.log(report(findings));
  process.exitCode = findings.some(({ level }) => level === 'error') ? 1 : 0;
} catch (error) {
  console.error(`ERROR   ${(error as Error).message}`);
  process.exitCode = 1;
}
