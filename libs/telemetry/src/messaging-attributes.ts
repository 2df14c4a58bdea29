import type { Attributes } from '@opentelemetry/api';
import { ATTR, DESTINATION_TEMPLATE, SYSTEM } from './conventions.js';
import type { SpanSpec } from './spans.js';

/** A task as every span about it tells. */
export interface SpannedTask {
  /** `<queue>.<key>`. */
  readonly id: string;
  readonly queue: string;
  readonly lane: string;
  readonly type?: string | undefined;
}

/** The attributes that all spans about one task have. */
export function messagingAttributes(spec: SpanSpec, { id, queue, lane, type }: SpannedTask): Attributes {
  return {
    [ATTR.system]: SYSTEM,
    [ATTR.systemDeprecated]: SYSTEM,
    [ATTR.operationName]: spec.operation,
    [ATTR.operationType]: spec.type,
    [ATTR.destination]: queue,
    [ATTR.destinationTemplate]: DESTINATION_TEMPLATE,
    [ATTR.messageId]: id,
    [ATTR.lane]: lane,
    [ATTR.type]: type,
  };
}
