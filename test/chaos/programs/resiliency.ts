import { connect } from '@jetlane/jetstream';
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
await new Resiliency(connection, { log: { warn: () => undefined } }).start();
say('started');
