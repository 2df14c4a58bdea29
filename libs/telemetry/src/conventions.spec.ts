import { readFileSync } from 'node:fs';
import { SpanKind } from '@opentelemetry/api';
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_ROUTE,
  ATTR_RPC_METHOD,
  ATTR_RPC_SYSTEM_NAME,
  ATTR_URL_PATH,
  ATTR_URL_SCHEME,
} from '@opentelemetry/semantic-conventions';
import * as published from '@opentelemetry/semantic-conventions/incubating';
import { describe, expect, it } from 'vitest';
import { ATTR } from './conventions.js';
import { METRICS } from './metrics.js';
import { HOPS, SERVICE_SPANS, SPANS } from './spans.js';

describe('ATTR', () => {
  it("agrees with OpenTelemetry's published names", () => {
    expect(ATTR).toMatchObject({
      system: published.ATTR_MESSAGING_SYSTEM_NAME,
      systemDeprecated: published.ATTR_MESSAGING_SYSTEM,
      operationName: published.ATTR_MESSAGING_OPERATION_NAME,
      operationType: published.ATTR_MESSAGING_OPERATION_TYPE,
      destination: published.ATTR_MESSAGING_DESTINATION_NAME,
      destinationTemplate: published.ATTR_MESSAGING_DESTINATION_TEMPLATE,
      consumerGroup: published.ATTR_MESSAGING_CONSUMER_GROUP_NAME,
      messageId: published.ATTR_MESSAGING_MESSAGE_ID,
      batchSize: published.ATTR_MESSAGING_BATCH_MESSAGE_COUNT,
      errorType: ATTR_ERROR_TYPE,
      rpcSystem: ATTR_RPC_SYSTEM_NAME,
      rpcMethod: ATTR_RPC_METHOD,
      httpMethod: ATTR_HTTP_REQUEST_METHOD,
      httpRoute: ATTR_HTTP_ROUTE,
      httpStatus: ATTR_HTTP_RESPONSE_STATUS_CODE,
      urlPath: ATTR_URL_PATH,
      urlScheme: ATTR_URL_SCHEME,
    });
  });
});

describe('docs/tracing.md', () => {
  const docs = readFileSync(new URL('../../../docs/tracing.md', import.meta.url), 'utf8');

  it('names every attribute, and no other', () => {
    const rows = docs.slice(docs.indexOf('### Attributes'), docs.indexOf('### Hops')).split('\n');
    const named = rows.filter((row) => row.startsWith('| `')).flatMap((row) => [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)]);
    expect(named.map(([, name]) => name).sort()).toEqual(Object.values(ATTR).sort());
  });

  it('shows every span as it is made, and no other', () => {
    const rows = docs.slice(docs.indexOf('## Spans'), docs.indexOf('### Attributes')).split('\n');
    const shown = Object.values(SPANS).map(
      ({ operation, type, kind, parent, from }) => `| \`${operation}\` | ${SpanKind[kind].toLowerCase()} | ${type} | ${parent} | ${from} |`,
    );
    const services = Object.values(SERVICE_SPANS).map(
      ({ name, kind, parent, from }) => `| \`${name}\` | ${SpanKind[kind].toLowerCase()} | ${parent} | ${from} |`,
    );
    expect(rows.filter((row) => row.startsWith('| `'))).toEqual([...shown, ...services]);
  });

  it('explains every hop, in order', () => {
    const rows = docs.slice(docs.indexOf('### Hops'), docs.indexOf('## Sampling')).split('\n');
    expect(rows.filter((row) => row.startsWith('| `')).map((row) => row.split('`')[1])).toEqual(HOPS);
  });
});

describe('METRICS', () => {
  const specs = Object.values(METRICS);

  it('names every metric once, in a form that Prometheus takes as it is', () => {
    expect(new Set(specs.map(({ name }) => name)).size).toBe(specs.length);
    for (const { name } of specs) expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
  });

  it('are all in docs/observability.md, with type, labels and service', () => {
    const docs = readFileSync(new URL('../../../docs/observability.md', import.meta.url), 'utf8');
    for (const { name, type, labels, from } of specs) {
      const shown = type === 'counter' ? `${name}_total` : name;
      expect(docs).toContain(
        `| \`${shown}\` | ${type} | ${labels.length > 0 ? `${labels.join(', ').replaceAll('.', '_')} ` : ''}| ${from} |`,
      );
    }
  });

  it('has no label that names a single task, worker or caller', () => {
    for (const { labels } of specs)
      for (const label of labels as readonly string[]) expect(label).not.toMatch(/(^|[._])(id|key|worker|trace|user)($|[._])/);
  });
});
