import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, connect } from '@jetlane/jetstream';
import { freePort, type NatsServer, startNatsServer } from '@jetlane/testing';
import { createUser } from '@nats-io/nkeys';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, bytes, makeStream } from '../support/broker.js';
import { credentials } from '../support/operator.js';
import { eventually, rejection } from '../support/wait-until.js';

let broker: Broker;
let dir: string;

beforeAll(async () => {
  broker = await Broker.start('con', { monitorPort: 0 });
  dir = mkdtempSync(join(tmpdir(), 'jetlane-connection-'));
});
afterAll(async () => {
  await broker.stop();
  rmSync(dir, { recursive: true, force: true });
});

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
};

describe('states', () => {
  it('tells every change, counts its links, and sends nothing into a dead one', async () => {
    const own = await Broker.start('con');
    const link = await own.connect();
    const states: string[] = [];
    link.onState((state) => states.push(state));
    expect(link).toMatchObject({ state: 'connected', epoch: 1, reconnects: 0, reconnectedAt: 0 });
    expect(link.send('anything')).toBe(true);
    own.server.kill('SIGKILL');
    await eventually('link is down', () => link.state === 'reconnecting');
    const back = link.whenConnected();
    expect([link.send('anything'), link.ack({ reply: 'x' } as never), link.nak({ reply: 'x' } as never)]).toEqual([false, false, false]);
    expect(await rejection(link.request('anything'))).toMatchObject({ code: 'not-connected', retryable: true });
    await own.server.exited;
    await own.server.start();
    await back;
    expect(link).toMatchObject({ state: 'connected', epoch: 2, reconnects: 1 });
    expect(link.reconnectedAt).toBeGreaterThan(0);
    await link.whenConnected();
    await link.close();
    await link.close();
    expect(states).toEqual(['reconnecting', 'connected', 'closed']);
    expect(await rejection(link.whenConnected())).toMatchObject({ code: 'connection-closed' });
    expect(await rejection(link.request('anything'))).toMatchObject({ code: 'connection-closed', retryable: false });
    await own.stop();
  });

  it('who waits for the link or for an answer is told when it is closed', async () => {
    const own = await Broker.start('con');
    const link = await own.connect();
    link.subscribe('mute', () => undefined);
    const answer = rejection(link.request('mute', '', 60_000));
    own.server.kill('SIGKILL');
    await eventually('link is down', () => link.state === 'reconnecting');
    const waiting = rejection(link.whenConnected());
    await link.close();
    expect(await waiting).toMatchObject({ code: 'connection-closed' });
    expect(await answer).toMatchObject({ code: 'connection-closed' });
    await own.stop();
  });

  it('a connection that the client itself closes settles all that waits', async () => {
    const link = await broker.connect();
    await makeStream(link, 'gone', ['gone']);
    broker.server.kill('SIGSTOP');
    const publish = rejection(link.publish('gone', bytes('x')));
    await link.raw().close();
    broker.server.kill('SIGCONT');
    expect(await publish).toMatchObject({ code: 'connection-closed' });
    expect(link.state).toBe('closed');
  });
});

describe('messages', () => {
  it('requests are answered, or say that nobody is there or that time is up', async () => {
    const link = await broker.connect();
    const stop = link.subscribe('svc', (message) => void link.send(message.reply, `${new TextDecoder().decode(message.data)}!`), 'group');
    expect(new TextDecoder().decode((await link.request('svc', 'hello')).data)).toBe('hello!');
    stop();
    await link.flush();
    expect(await rejection(link.request('svc'))).toMatchObject({ code: 'no-responders', retryable: true });
    link.subscribe('mute', () => undefined);
    expect(await rejection(link.request('mute', '', 100))).toMatchObject({ code: 'request-timeout', retryable: true });
  });

  it('a listener that throws does not make the link deaf', async () => {
    const link = await broker.connect();
    const warnings: string[] = [];
    const heard = (warning: Error & { code?: string }) => warnings.push(String(warning.code));
    const others = process.listeners('warning');
    process.removeAllListeners('warning').on('warning', heard);
    link.subscribe('bad', () => {
      throw new Error('broken listener');
    });
    let good = 0;
    link.subscribe('good', () => good++);
    link.send('bad');
    link.send('good');
    await link.flush();
    await eventually('the other listener hears', () => good === 1);
    await eventually('a warning is given', () => warnings.includes('JETLANE_LISTENER'));
    expect(link.epoch).toBe(1);
    process.off('warning', heard);
    for (const other of others) process.on('warning', other);
  });

  it('what would make the server cut the link is refused here', async () => {
    const link = await broker.connect();
    for (const subject of ['', 'a b', 'a\r\nPUB b 0\r\n'])
      expect(() => link.send(subject, 'x'), JSON.stringify(subject)).toThrow(TypeError);
    expect(() => link.send('a', new Uint8Array(link.raw().info!.max_payload + 1))).toThrow(RangeError);
    await link.flush();
    expect([link.state, link.epoch]).toEqual(['connected', 1]);
  });

  it('what is sent last arrives, also when the link is closed at once', async () => {
    const [link, other] = [await broker.connect(), await broker.connect()];
    let heard = 0;
    other.subscribe('last', () => heard++);
    await other.flush();
    link.send('last', 'words');
    await link.close();
    await eventually('it is heard', () => heard === 1);
  });

  it('subscriptions survive a reconnect', async () => {
    const own = await Broker.start('con');
    const link = await own.connect();
    const heard: string[] = [];
    link.subscribe('news', (message) => heard.push(message.subject));
    await own.crash();
    await eventually('link is up again', () => link.epoch === 2);
    link.send('news');
    await eventually('news are heard', () => heard.length === 1);
    await own.stop();
  });
});

describe('reaching a server', () => {
  it('an unreachable one gives a clear error, without the password', async () => {
    const port = await freePort();
    const error = await rejection(connect({ servers: `nats://user:topsecret@127.0.0.1:${port}`, waitOnFirstConnect: false }));
    expect(error).toMatchObject({ code: 'not-connected', retryable: true });
    expect(error.message).toContain(`nats://127.0.0.1:${port}`);
    expect(error.message).not.toContain('topsecret');
  });

  it('waits for one that comes later, and tells that it waits', async () => {
    const port = await freePort();
    const tries: Error[] = [];
    const pending = connect({ servers: `nats://127.0.0.1:${port}`, onWaiting: (error) => tries.push(error) });
    await eventually('two tries failed', () => tries.length >= 2);
    expect(tries[0]).toMatchObject({ code: 'not-connected' });
    const server = await startNatsServer({ port });
    const link = await pending;
    expect(link.state).toBe('connected');
    await link.close();
    await server.stop();
  });

  it('one of several is enough, spaces and empty places in the list do not matter', async () => {
    const dead = await freePort();
    const link = await broker.connect({ servers: ` nats://127.0.0.1:${dead} , ,${broker.server.url}`, waitOnFirstConnect: false });
    expect(link.state).toBe('connected');
  });

  it('options that cannot work are refused before anything is dialled', async () => {
    expect(await rejection(connect({ servers: broker.server.url, namespace: 'not a namespace' }))).toMatchObject({
      code: 'invalid-argument',
    });
    expect(await rejection(connect({ servers: broker.server.url, credsFile: join(dir, 'missing') }))).toMatchObject({
      code: 'invalid-configuration',
    });
    expect(await rejection(connect({ servers: broker.server.url, nkeySeedFile: join(dir, 'missing') }))).toMatchObject({
      code: 'invalid-configuration',
    });
  });

  it('shows its name to the server', async () => {
    await broker.connect({ name: 'who-is-it' });
    const { connections } = (await (await fetch(`${broker.server.monitorUrl}/connz`)).json()) as { connections: { name: string }[] };
    expect(connections.map(({ name }) => name)).toContain('who-is-it');
  });
});

describe('credentials', () => {
  const secured = async (extra: string, use: (server: NatsServer) => Promise<void>): Promise<void> => {
    const server = await startNatsServer({ extra });
    try {
      await use(server);
    } finally {
      await server.stop();
    }
  };
  const works = async (opening: Promise<Connection>): Promise<void> => {
    const link = await opening;
    await link.flush();
    await link.close();
  };
  const refused = async (opening: Promise<unknown>): Promise<void> => {
    const error = await rejection(opening);
    expect(error).toMatchObject({ code: 'unauthorized', retryable: false });
    expect(error.message).not.toContain('wrong');
  };

  it('user and password, as options or in the URL; wrong ones fail at once instead of waiting', () =>
    secured('authorization { user: "jet", password: "l@ne:1" }', async ({ url: servers, port }) => {
      await works(connect({ servers, user: 'jet', password: 'l@ne:1' }));
      await works(connect({ servers: `nats://jet:l%40ne%3A1@127.0.0.1:${port}` }));
      await refused(connect({ servers, user: 'jet', password: 'wrong' }));
      await refused(connect({ servers: `nats://jet:wrong@127.0.0.1:${port}` }));
      await refused(connect({ servers }));
    }));

  it('token', () =>
    secured('authorization { token: "t0ken" }', async ({ url: servers, port }) => {
      await works(connect({ servers, token: 't0ken' }));
      await works(connect({ servers: `nats://t0ken@127.0.0.1:${port}` }));
      await refused(connect({ servers, token: 'wrong' }));
    }));

  it('NKey seed file', async () => {
    const user = createUser();
    const nkeySeedFile = file('user.nk', Buffer.concat([user.getSeed(), Buffer.from('\n')]));
    await secured(`authorization { users: [{ nkey: ${user.getPublicKey()} }] }`, async ({ url: servers }) => {
      await works(connect({ servers, nkeySeedFile }));
      await refused(connect({ servers, nkeySeedFile: file('other.nk', createUser().getSeed()) }));
    });
  });

  it('credentials file', async () => {
    const { config, creds } = credentials();
    await secured(config, async ({ url: servers }) => {
      await works(connect({ servers, credsFile: file('user.creds', creds) }));
      await refused(connect({ servers, credsFile: file('other.creds', credentials().creds) }));
    });
  });

  it('TLS with a certificate authority of one’s own', async () => {
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost,IP:127.0.0.1',
        '-keyout',
        key,
        '-out',
        cert,
      ],
      { stdio: 'ignore' },
    );
    await secured(`tls { cert_file: "${cert}", key_file: "${key}" }`, async ({ url: servers }) => {
      await works(connect({ servers, tls: { caFile: cert } }));
      expect(await rejection(connect({ servers, waitOnFirstConnect: false, tls: {} }))).toMatchObject({
        code: 'not-connected',
        message: expect.stringMatching(/certificate/),
      });
    });
  });
});
