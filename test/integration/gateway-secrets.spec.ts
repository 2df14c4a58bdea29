import { type NatsServer, startNatsServer } from '@jetlane/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readGatewayConfig } from '../../apps/gateway/src/config.js';
import { GatewayFixture, sendRaw } from './gateway-fixture.js';

const SECRETS = {
  natsPassword: 'nats-p4ssw0rd-of-the-broker',
  key: 'jl_the-one-and-only-key-of-this-test',
  guess: 'jl_somebody-guesses-this',
  jwt: 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzZWNyZXQtc3ViamVjdCJ9.c2lnbmF0dXJl',
  payload: 'hush-payload',
  query: 'hush-query',
};
let nats: NatsServer;
let gateway: GatewayFixture;

beforeAll(async () => {
  const { natsPassword, key } = SECRETS;
  nats = await startNatsServer({ extra: `authorization { user: jetlane, password: "${natsPassword}" }` });
  const credentials = { NATS_USER: 'jetlane', NATS_PASSWORD: natsPassword, JETLANE_API_KEYS: key };
  gateway = await GatewayFixture.start({ ...credentials, JETLANE_RATE_LIMIT_REFUSED: '20/h', LOG_LEVEL: 'trace' }, nats);
});

afterAll(() => gateway.stop());

/** @param told what its own sender may be shown */
function expectSilence(text: string, told: readonly string[] = []): void {
  for (const [name, secret] of Object.entries(SECRETS)) if (!told.includes(secret)) expect(text.includes(secret), name).toBe(false);
}

it('no secret reaches the log or an answer, whatever goes wrong', async () => {
  const { key, guess, jwt, payload, query } = SECRETS;
  const answers: string[] = [];
  const ask = async (headers: Record<string, string>, body: unknown = payload, path = '/api/queue/enqueue') => {
    answers.push((await gateway.post(`${path}?token=${query}`, body, headers)).text);
  };
  for (const headers of [
    { authorization: `Bearer ${key}` },
    { 'x-api-key': key },
    { authorization: `Bearer ${guess}` },
    { 'x-api-key': jwt },
  ]) {
    await ask(headers);
    await ask(headers, { queue_name: 'default', task_type: 'noop', task_data: payload });
    await ask(headers, { queue_name: 'nowhere', task_type: 'noop', task_data: payload });
    await ask(headers, [], '/api/queue/enqueue/batch');
    await ask(headers, {}, '/api/v1/nowhere');
  }
  await ask({ authorization: `Bearer ${jwt}` });
  await ask({ authorization: `Basic ${Buffer.from(`user:${key}`).toString('base64')}` });
  answers.push(
    await sendRaw(gateway.port, `GET /api/queue/stats HTTP/1.1\r\nHost: localhost\r\nX-API-Key: ${key}\r\nBad Header: ${key}\r\n\r\n`),
  );
  nats.kill('SIGKILL');
  await nats.exited;
  await ask({ 'x-api-key': key }, { queue_name: 'default', task_type: 'noop', task_data: payload });
  answers.push((await gateway.get('/health/ready')).text, (await gateway.get('/docs-json')).text, (await gateway.get('/metrics')).text);
  expect(gateway.logged.length).toBeGreaterThan(15);
  // What is wrong with a body may be shown to who sent it.
  expectSilence(answers.join('\n'), [payload]);
  expectSilence(gateway.logged.join('\n'));
  await nats.start();
});

it('no secret reaches the message about wrong settings', () => {
  const { key, natsPassword } = SECRETS;
  const wrong = { JETLANE_API_KEYS: key, NATS_PASSWORD: natsPassword, NATS_URL: `http://u:${natsPassword}@host`, GATEWAY_PORT: 'x' };
  let message = '';
  try {
    readGatewayConfig(wrong);
  } catch (error) {
    message = String(error) + JSON.stringify((error as { details: unknown }).details);
  }
  expect(message).toContain('GATEWAY_PORT');
  expectSilence(message);
});
