import { connect } from '@jetlane/jetstream';
import { Queues } from '../../../apps/resiliency/src/queues.js';
import { Resiliency } from '../../../apps/resiliency/src/resiliency.js';
import { Sweeper } from '../../../apps/resiliency/src/sweeper.js';
import type { ResiliencyInput } from './inputs.js';
import { switchOffInConnection } from './off.js';
import { endWithParent, inputOf, say } from './process.js';

/** The core of the resiliency service, with protections switched off. */
const input = inputOf<ResiliencyInput>();
const off = new Set(input.off);
if (off.has('sweeper')) Sweeper.prototype.start = () => undefined;
const connection = await connect({ servers: input.url, namespace: input.namespace, replicas: input.replicas });
switchOffInConnection(connection, off);
endWithParent();
const queues = new Queues(connection);
await queues.start();
await new Resiliency(connection, { queues, log: { warn: () => undefined } }).start();
say('started');
