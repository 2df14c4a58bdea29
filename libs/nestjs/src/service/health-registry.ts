/** What a check found: up or not, and facts for the reader of `/health/ready`. */
export interface HealthReport {
  readonly up: boolean;
  readonly [detail: string]: unknown;
}

/** Looks at one thing that readiness depends on. What it throws counts as down; it has 3 s. */
export type HealthCheck = () => Promise<HealthReport> | HealthReport;

/** A check that takes longer counts as down. */
const LONGEST_CHECK_MS = 3000;

/** The readiness checks of a service. Components add theirs; `/health/ready` asks them all. */
export class HealthRegistry {
  private readonly checks = new Map<string, HealthCheck>();

  /** Adds a check, or replaces the one of that name. Returns the way to remove it. */
  add(name: string, check: HealthCheck): () => void {
    this.checks.set(name, check);
    return () => {
      if (this.checks.get(name) === check) this.checks.delete(name);
    };
  }

  /** Names of all checks, in the order in which they were added. */
  names(): string[] {
    return [...this.checks.keys()];
  }

  /** Runs one check. Never throws: a check that does, or that takes more than 3 s, is down and says why. */
  async run(name: string): Promise<HealthReport> {
    const check = this.checks.get(name);
    if (!check) return { up: false, message: 'no such check' };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<HealthReport>((resolve) => {
      timer = setTimeout(() => resolve({ up: false, message: `no answer within ${LONGEST_CHECK_MS} ms` }), LONGEST_CHECK_MS);
    });
    try {
      return await Promise.race([late, Promise.resolve().then(check)]);
    } catch (error) {
      return { up: false, message: error instanceof Error ? error.message : String(error) };
    } finally {
      clearTimeout(timer);
    }
  }
}
