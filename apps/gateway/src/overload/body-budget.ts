import { JetlaneError } from '@jetlane/protocol';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/** Bytes of bodies that requests under way may hold together. */
const MOST_BYTES = 256 * 1024 * 1024;
/** What a body counts that does not say its length: most are small, and a large one soon ends. */
const UNKNOWN_BYTES = 64 * 1024;
/** Bodies up to this size are not counted: their connections hold as much, and counting is not free. */
const SMALL_BYTES = 16 * 1024;

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

/**
 * Bounds the memory that bodies of single tasks take while they are read and stored: what is beyond it is refused unread.
 * A body counts until its handler has settled, also when its sender went away meanwhile: the handler still holds it.
 */
export class BodyBudget {
  private held = 0;
  private readonly counted = new WeakMap<FastifyRequest, number>();
  private readonly handled = new WeakSet<FastifyRequest>();

  constructor(
    private readonly mostBytes = MOST_BYTES,
    private readonly smallBytes = SMALL_BYTES,
  ) {}

  /** Counts the bodies of a scope's routes. Refuses with JetlaneError `publisher-overloaded`. */
  watch(scope: FastifyInstance): void {
    scope.addHook('onRequest', (request, reply, done) => {
      const bytes = sizeOf(request);
      if (bytes <= this.smallBytes) return done();
      if (this.held + bytes > this.mostBytes) return done(overloaded());
      this.held += bytes;
      this.counted.set(request, bytes);
      reply.raw.once('close', () => {
        if (!this.handled.has(request)) this.release(request);
      });
      done();
    });
  }

  /** A handler whose body is given back when it has settled. */
  around(handler: Handler): Handler {
    return (request, reply) => (this.counted.has(request) ? this.counting(handler, request, reply) : handler(request, reply));
  }

  private async counting(handler: Handler, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    this.handled.add(request);
    try {
      return await handler(request, reply);
    } finally {
      this.release(request);
    }
  }

  private release(request: FastifyRequest): void {
    this.held -= this.counted.get(request) ?? 0;
    this.counted.delete(request);
  }
}

function sizeOf({ headers }: FastifyRequest): number {
  const length = headers['content-length'];
  if (length !== undefined) return Number(length) || 0;
  return headers['transfer-encoding'] === undefined ? 0 : UNKNOWN_BYTES;
}

function overloaded(): JetlaneError {
  return new JetlaneError(
    'publisher-overloaded',
    'the bodies of the requests under way fill the memory set aside for them; send again in a moment',
  );
}
