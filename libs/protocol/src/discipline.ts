import { JetlaneError } from './errors.js';
import { DEFAULT_LANE, type Lane } from './lanes.js';
import type { QueueDefinition } from './queue-definition.js';

/**
 * The lane that a queue puts a task into: the one that was asked for, or the only one that it has. Undefined: the choice is the
 * caller's. Every way into a lane asks here.
 * @throws JetlaneError `invalid-argument` for a lane that a `fifo` queue does not have
 */
export function laneIn({ name, discipline }: Pick<QueueDefinition, 'name' | 'discipline'>, asked: Lane | undefined): Lane | undefined {
  if (discipline !== 'fifo') return asked;
  if (asked === undefined || asked === DEFAULT_LANE) return DEFAULT_LANE;
  throw new JetlaneError('invalid-argument', `queue "${name}" is fifo and takes no tasks of lane "${asked}"; leave the lane out`, {
    details: { field: 'lane' },
  });
}
