import { JetlaneError } from '@jetlane/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { BODY_LIMIT, parseJson } from './json-body.js';

const STREAMED = ['application/json', 'application/x-ndjson'];

/** Makes the scope read JSON bodies up to {@link BODY_LIMIT}, and nothing else. */
export function readJsonBodies(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit: BODY_LIMIT }, (_request, body, done) => {
    try {
      done(null, parseJson(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
}

/** Makes the scope hand bodies of the two types over as streams, of any length. */
export function streamBodies(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  for (const type of STREAMED)
    scope.addContentTypeParser(type, { bodyLimit: Number.MAX_SAFE_INTEGER }, (_request, payload, done) => done(null, payload));
}

/** @throws JetlaneError `unsupported-media-type` for a compressed body: nothing here unpacks one, so that no small body becomes a large one */
export function refuseEncodings({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new JetlaneError('unsupported-media-type', `content-encoding ${encoding.slice(0, 40)} is not supported; send the body as it is`);
  }
}
