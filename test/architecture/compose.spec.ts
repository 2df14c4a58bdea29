import { beforeAll, describe, expect, it } from 'vitest';
import { COMPOSE_CHECKS } from './compose-checks.js';
import { ROOT } from './dependency-rules.js';
import { type Deployment, loadDeployment } from './deployment.js';
import { BREAKAGES, type CheckName } from './deployment-breakages.js';
import { STACK_CHECKS, seriesIn } from './stack-checks.js';

const CHECKS = { ...COMPOSE_CHECKS, ...STACK_CHECKS };
const NAMES = Object.keys(CHECKS) as CheckName[];

describe('deployment files', () => {
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await loadDeployment(ROOT);
  }, 60_000);

  it.each(NAMES)('%s', (name) => {
    expect(CHECKS[name](deployment)).toEqual([]);
  });

  it.each(NAMES)('%s is tried on a mistake', (name) => {
    expect(BREAKAGES.map(([check]) => check)).toContain(name);
  });

  it.each(BREAKAGES)('%s complains: %s', (name, complaint, breakIt) => {
    const { exists, ...data } = deployment;
    const copy: Deployment = { ...structuredClone(data), exists };
    breakIt(copy);
    const fresh = CHECKS[name](copy).filter((problem) => !CHECKS[name](deployment).includes(problem));
    expect(fresh.join('\n')).toContain(complaint);
  });
});

describe('seriesIn', () => {
  it.each([
    ['sum by (queue, lane) (rate(jetlane_tasks_enqueued_total{queue=~"$queue"}[$__rate_interval]))', ['jetlane_tasks_enqueued_total']],
    ['histogram_quantile(0.99, sum by (le) (rate(a_bucket[5m])))', ['a_bucket']],
    ['sum(busy{x="y"}) / sum without (job) (slots)', ['busy', 'slots']],
  ])('%s', (expression, series) => {
    expect(seriesIn(expression)).toEqual(series);
  });
});
