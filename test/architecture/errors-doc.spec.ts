import { readFileSync } from 'node:fs';
import { ERROR_CODES } from '@jetlane/protocol';
import { describe, expect, it } from 'vitest';

describe('docs/errors.md', () => {
  const rows = [...readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `([^`]+)` \| (\d+) \| (yes|no) \| (.+) \|$/gm)];

  it('lists exactly the codes of the source, with status, retryable and title', () => {
    const documented = rows.map(([, code, status, retryable, title]) => ({
      code,
      status: Number(status),
      retryable: retryable === 'yes',
      title,
    }));
    expect(documented).toEqual(
      Object.entries(ERROR_CODES).map(([code, about]) => ({ code, status: about.status, retryable: about.retryable, title: about.title })),
    );
  });
});
