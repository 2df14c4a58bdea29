import { HEADER, type HeaderPair, headerValue, isLane, type Lane, type Names } from '@jetlane/protocol';

/** The lane of a dead letter; undefined for what named none. One that an older version made tells it by its source alone. */
export function deadLane(names: Names, headers: readonly HeaderPair[]): Lane | undefined {
  const told = headerValue(headers, HEADER.deadLane);
  if (told !== undefined) return isLane(told) ? told : undefined;
  const lanes = names.parseLaneStream(headerValue(headers, HEADER.deadSource)?.replace(/:\d*$/, '') ?? '')?.lanes;
  return lanes?.length === 1 ? lanes[0] : undefined;
}
