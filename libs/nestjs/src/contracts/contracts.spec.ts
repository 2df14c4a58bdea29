import { JetlaneError } from '@jetlane/protocol';
import { Cancelled, RetryLater } from '@jetlane/worker';
import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { defineTask, type TaskInput, type TaskPayload, type TaskResult, type TaskReturn } from './define-task.js';
import { acceptPayload, acceptResult } from './validate.js';

const welcome = defineTask({
  queue: 'email',
  type: 'welcome',
  schema: z.object({ to: z.email(), at: z.iso.date().transform((text) => new Date(text)), copies: z.number().int().default(1) }),
  result: z.object({ messageId: z.string() }),
});

const failure = (call: () => unknown): JetlaneError => {
  try {
    call();
  } catch (error) {
    return error as JetlaneError;
  }
  throw new Error('expected an error');
};

describe('defineTask', () => {
  it('gives the types of both ends', () => {
    expectTypeOf<TaskInput<typeof welcome>>().toEqualTypeOf<{ to: string; at: string; copies?: number | undefined }>();
    expectTypeOf<TaskPayload<typeof welcome>>().toEqualTypeOf<{ to: string; at: Date; copies: number }>();
    expectTypeOf<TaskReturn<typeof welcome>>().toEqualTypeOf<{ messageId: string }>();
    expectTypeOf<TaskResult<typeof welcome>>().toEqualTypeOf<{ messageId: string }>();
    const free = defineTask({ queue: 'q', type: 't', schema: z.string() });
    expectTypeOf<TaskResult<typeof free>>().toBeUnknown();
    expect(welcome).toMatchObject({ wireType: 'welcome', version: 1 });
  });

  it.each([
    [{ queue: 'No.Queue' }, 'queue'],
    [{ type: 'two words' }, 'type'],
    [{ version: 0 }, 'version'],
    [{ version: 1.5 }, 'version'],
  ])('refuses %o', (wrong, field) => {
    const error = failure(() => defineTask({ queue: 'q', type: 't', schema: z.string(), ...wrong }));
    expect(error).toMatchObject({ code: 'invalid-argument', details: { field } });
  });
});

describe('any Standard Schema', () => {
  it.each([
    ['zod', z.object({ to: z.string(), items: z.array(z.object({ n: z.number() })) }), ['to', 'items[1].n']],
    ['valibot', v.object({ to: v.string(), items: v.array(v.object({ n: v.number() })) }), ['to', 'items[1].n']],
    ['arktype', type({ to: 'string', items: type({ n: 'number' }).array() }), ['items[1].n', 'to']],
  ] as const)('of %s checks payloads and says where they do not fit', (_, schema, paths) => {
    const task = defineTask({ queue: 'q', type: 't', schema });
    const good = { to: 'a', items: [{ n: 1 }] };
    expect(acceptPayload(task, 't', good)).toEqual(good);
    const error = failure(() => acceptPayload(task, 't', { to: 1, items: [{ n: 1 }, { n: 'x' }] }));
    expect(error).toMatchObject({ name: 'FatalError', code: 'payload-mismatch', retryable: false });
    const issues = error.details.issues as { path: string; message: string }[];
    expect(issues.map(({ path }) => path).sort()).toEqual([...paths].sort());
    for (const { path, message } of issues) expect(error.message).toContain(`${path}: ${message}`);
  });

  it('may be asynchronous', async () => {
    const schema = z.string().refine(async (text) => text !== 'taken', 'is taken');
    const task = defineTask({ queue: 'q', type: 't', schema });
    expect(await acceptPayload(task, 't', 'free')).toBe('free');
    await expect(acceptPayload(task, 't', 'taken')).rejects.toMatchObject({
      code: 'payload-mismatch',
      message: expect.stringContaining('is taken'),
    });
  });

  it('checks results too', () => {
    expect(acceptResult(welcome, { messageId: 'm', more: 1 })).toEqual({ messageId: 'm' });
    expect(failure(() => acceptResult(welcome, {}))).toMatchObject({ code: 'result-mismatch', name: 'FatalError' });
    const free = defineTask({ queue: 'q', type: 't', schema: z.string() });
    expect(acceptResult(free, 7)).toBe(7);
  });
});

describe('code of a contract that throws', () => {
  const dated = z.string().transform((text) => {
    if (text.length > 4) throw new RangeError('too far away');
    return text;
  });
  // Not of zod: it tries every schema without waiting first, and leaves what an asynchronous one rejects with unhandled.
  const late = v.pipeAsync(
    v.string(),
    v.transformAsync(async (text) => dated.parse(text)),
  );
  const upcast = (old: unknown) => (old as { text: string }).text;
  const lateUpcast = async (old: unknown) => (old as { text: string }).text;
  const mismatch = (message: string, cause: unknown) => ({
    name: 'FatalError',
    code: 'payload-mismatch',
    retryable: false,
    details: { issues: [{ path: '', message }] },
    message: `the payload does not fit task type "t": ${message}`,
    cause,
  });
  /** Zod answers what throws with a promise; others throw at once. */
  const rejectionOf = async (call: () => unknown): Promise<unknown> => {
    try {
      return await call();
    } catch (error) {
      return error;
    }
  };
  const nullText = "Cannot read properties of null (reading 'text')";

  it.each([
    ['a schema', { schema: dated }, '12345', 'too far away', RangeError],
    [
      'a schema that throws at once',
      {
        schema: v.pipe(
          v.string(),
          v.transform((text) => dated.parse(text)),
        ),
      },
      '12345',
      'too far away',
      RangeError,
    ],
    ['an asynchronous schema', { schema: late }, '12345', 'too far away', RangeError],
    ['an upcast', { schema: dated, version: 2, upcast }, null, nullText, TypeError],
    ['an asynchronous upcast', { schema: dated, version: 2, upcast: lateUpcast }, null, nullText, TypeError],
    ['a schema after an upcast', { schema: late, version: 2, upcast: lateUpcast }, { text: '12345' }, 'too far away', RangeError],
  ])('is a payload that does not fit: %s', async (_, definition, payload, message, cause) => {
    // Rows of several kinds of schema: here one type must do for all.
    const task = defineTask({ queue: 'q', type: 't', ...(definition as { readonly schema: typeof dated }) });
    expect(await rejectionOf(() => acceptPayload(task, 't', payload))).toMatchObject(mismatch(message, expect.any(cause)));
  });

  it('is a result that does not fit, too', async () => {
    const task = defineTask({ queue: 'q', type: 't', schema: z.string(), result: dated });
    expect(await rejectionOf(() => acceptResult(task, '12345'))).toMatchObject({ code: 'result-mismatch', cause: expect.any(RangeError) });
  });

  it.each([new RetryLater('1m'), new Cancelled('no'), new JetlaneError('request-timeout', 'the directory is busy')])(
    'may say itself what comes of the task: %s',
    async (said) => {
      const schema = z.string().transform(() => {
        throw said;
      });
      expect(await rejectionOf(() => acceptPayload(defineTask({ queue: 'q', type: 't', schema }), 't', 'x'))).toBe(said);
    },
  );
});

describe('versions', () => {
  const schema = z.object({ name: z.string(), age: z.number() });
  const upcast = (payload: unknown, version: number) => {
    const old = payload as { fullName?: string; name?: string };
    return version === 1 ? { name: old.fullName, age: 0 } : { ...old, age: 1 };
  };
  const third = defineTask({ queue: 'q', type: 'person', version: 3, schema, upcast });

  it('travel in the type, and older ones are handled through upcast', () => {
    expect(third.wireType).toBe('person:v3');
    expect([...third.handledTypes]).toEqual([
      ['person', 1],
      ['person:v2', 2],
      ['person:v3', 3],
    ]);
    expect(acceptPayload(third, 'person', { fullName: 'Ada' })).toEqual({ name: 'Ada', age: 0 });
    expect(acceptPayload(third, 'person:v2', { name: 'Bob' })).toEqual({ name: 'Bob', age: 1 });
    expect(acceptPayload(third, 'person:v3', { name: 'Cyd', age: 9 })).toEqual({ name: 'Cyd', age: 9 });
    expect(failure(() => acceptPayload(third, 'person', {}))).toMatchObject({ code: 'payload-mismatch' });
  });

  it('without upcast are handled alone', () => {
    expect([...defineTask({ queue: 'q', type: 'person', version: 3, schema }).handledTypes.keys()]).toEqual(['person:v3']);
  });
});
