import { type CommandInput, type CommandOutput, JetlaneError, listedStates, type SEARCH_COMMANDS, type TaskEntry } from '@jetlane/protocol';
import { type Budget, isSpent, type TaskFilter, type TaskSource } from './task-filter.js';

type Input = CommandInput<typeof SEARCH_COMMANDS.tasks>;
type Output = Omit<CommandOutput<typeof SEARCH_COMMANDS.tasks>, 'projection'>;

/** What a page looks at. Messages are read over the network: 10,000 take well under a second. */
const SCANS = 10_000;
const BYTES = 32 * 1024 * 1024;
/** Time after which a page ends with what it has, ms. */
const PAGE_MS = 1500;

/** Goes through the sources one after the other, a page at a time. */
export class TaskSearch {
  /** @param sources by the filter: which there are, and what is asked of them, may differ */
  constructor(private readonly sources: (filter: TaskFilter) => { sources: readonly TaskSource[]; notSearched: Output['not_searched'] }) {}

  /** @throws JetlaneError `invalid-argument` for a cursor that is none */
  async list(input: Input): Promise<Output> {
    const filter = filterOf(input);
    const { sources, notSearched } = this.sources(filter);
    const start = readCursor(input.cursor);
    const budget: Budget = { items: input.limit, scans: SCANS, bytes: BYTES, deadline: performance.now() + PAGE_MS };
    const items: TaskEntry[] = [];
    const answer = (cursor?: string): Output => ({
      ...{ items, scanned: SCANS - budget.scans, not_searched: notSearched },
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (let place = start.place; place < sources.length; place++) {
      const source = sources[place]!;
      if (!source.states.some((state) => filter.states.has(state))) continue;
      const { entries, next } = await source.read(filter, place === start.place ? start.after : undefined, budget);
      items.push(...entries);
      if (next !== undefined) return answer(writeCursor(place, next));
      if (isSpent(budget) && place + 1 < sources.length) return answer(writeCursor(place + 1));
    }
    return answer();
  }
}

function filterOf({ state, error, payload, limit: _limit, cursor: _cursor, ...rest }: Input): TaskFilter {
  return {
    ...rest,
    states: new Set(listedStates(state)),
    ...(error === undefined ? {} : { error }),
    ...(payload === undefined ? {} : { payload: payload.toLowerCase() }),
  };
}

const writeCursor = (place: number, after?: string): string => Buffer.from(JSON.stringify([place, after])).toString('base64url');

function readCursor(cursor: string | undefined): { place: number; after?: string } {
  if (cursor === undefined) return { place: 0 };
  try {
    const [place, after] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as [unknown, unknown];
    if (Number.isSafeInteger(place) && (place as number) >= 0 && (after === null || after === undefined || typeof after === 'string'))
      return { place: place as number, ...(typeof after === 'string' ? { after } : {}) };
  } catch {
    // Told below.
  }
  throw new JetlaneError('invalid-argument', 'the cursor is none that a list gave; leave it out to begin at the start', {
    details: { field: 'cursor' },
  });
}
