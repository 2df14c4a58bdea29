import { describe, expect, it } from 'vitest';
import { assertCredentials, isLoopback, readServiceConfig } from './config.js';
import type { Environment } from './environment.js';

const read = (env: Environment) => readServiceConfig('gateway', 3000, 'GATEWAY_PORT', env);

function problemsOf(env: Environment): string[] {
  try {
    read(env);
    return [];
  } catch (error) {
    const { details } = error as { details: { issues: { variable: string }[] } };
    return details.issues.map(({ variable }) => variable).sort();
  }
}

describe('readServiceConfig', () => {
  it('has a default for everything', () => {
    expect(read({ LOG_FORMAT: 'json' })).toEqual({
      name: 'gateway',
      host: '127.0.0.1',
      port: 3000,
      portVariable: 'GATEWAY_PORT',
      nats: { servers: ['nats://127.0.0.1:4222'], name: 'jetlane-gateway', namespace: '', topology: 'lanes', replicas: 1 },
      logLevel: 'info',
      logFormat: 'json',
      apiKeys: [],
    });
  });

  it('takes an empty variable for an unset one', () => {
    expect(read({ GATEWAY_PORT: '', NATS_USER: '', LOG_LEVEL: '' })).toMatchObject({ port: 3000, logLevel: 'info' });
  });

  it('reads every variable', () => {
    const config = read({
      HOST: '0.0.0.0',
      GATEWAY_PORT: '4000',
      NATS_URL: 'nats://a:4222, b:4222',
      NATS_USER: 'u',
      NATS_PASSWORD: 'p',
      NATS_TLS_CA: '/ca.pem',
      JETLANE_NAMESPACE: 'blue',
      JETLANE_REPLICAS: '3',
      JETLANE_TOPOLOGY: 'compact',
      JETLANE_API_KEYS: 'one, two,',
      LOG_LEVEL: 'debug',
      LOG_FORMAT: 'pretty',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://jaeger:4318',
    });
    expect(config).toMatchObject({
      host: '0.0.0.0',
      port: 4000,
      apiKeys: ['one', 'two'],
      logLevel: 'debug',
      logFormat: 'pretty',
      otlpEndpoint: 'http://jaeger:4318',
    });
    expect(config.nats).toMatchObject({
      servers: ['nats://a:4222', 'b:4222'],
      user: 'u',
      password: 'p',
      tls: { caFile: '/ca.pem' },
      namespace: 'blue',
      topology: 'compact',
      replicas: 3,
    });
  });

  it('reports all wrong variables together, by name', () => {
    const env = {
      GATEWAY_PORT: '70000',
      NATS_URL: 'http://x',
      JETLANE_REPLICAS: '2',
      LOG_LEVEL: 'loud',
      JETLANE_TOPOLOGY: 'flat',
      JETLANE_NAMESPACE: 'A_B',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'jaeger',
    };
    expect(problemsOf(env)).toEqual([
      'GATEWAY_PORT',
      'JETLANE_NAMESPACE',
      'JETLANE_REPLICAS',
      'JETLANE_TOPOLOGY',
      'LOG_LEVEL',
      'NATS_URL',
      'OTEL_EXPORTER_OTLP_ENDPOINT',
    ]);
    expect(() => read(env)).toThrow(/GATEWAY_PORT="70000".*LOG_LEVEL="loud"/);
  });

  it('never repeats a secret in an error', () => {
    expect(() => read({ NATS_URL: 'http://user:secret@x', NATS_PASSWORD: 'secret' })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }),
    );
  });
});

describe('assertCredentials', () => {
  it('refuses the network without keys', () => {
    for (const host of ['0.0.0.0', '::', '10.0.0.1', 'example.org']) {
      expect(() => assertCredentials({ host, apiKeys: [] }), host).toThrow(/JETLANE_API_KEYS/);
      expect(() => assertCredentials({ host, apiKeys: ['k'] }), host).not.toThrow();
    }
  });

  it('lets this machine in without', () => {
    for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost']) {
      expect(isLoopback(host)).toBe(true);
      expect(() => assertCredentials({ host, apiKeys: [] })).not.toThrow();
    }
    expect(isLoopback('127.example.org')).toBe(false);
  });
});
