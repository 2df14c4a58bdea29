import { JetlaneError } from '@jetlane/protocol';
import { type CanActivate, Controller, UseGuards } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { BaseRpcExceptionFilter } from '@nestjs/microservices/exceptions/base-rpc-exception-filter.js';
import { context, createTraceState, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { firstValueFrom, of } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { strategyOf, TransportSite } from './nestjs-transport-fixture.js';
import { eventually } from './services-fixture.js';
import { deferred } from './worker-fixture.js';

let site: TransportSite;
beforeAll(async () => {
  site = await TransportSite.open('transport-requests');
});
afterAll(() => site.close());

describe('a request', () => {
  it('is answered by one process of the service, within its pipeline', async () => {
    class Admins implements CanActivate {
      canActivate(context: { switchToRpc(): { getData<T>(): T } }) {
        return context.switchToRpc().getData<{ admin?: boolean }>().admin !== false;
      }
    }
    let calls = 0;
    @Controller()
    @UseGuards(Admins)
    class Maths {
      @MessagePattern('maths.sum')
      sum(@Payload() data: { numbers: number[] }) {
        calls++;
        return data.numbers.reduce((a, b) => a + b, 0);
      }

      @MessagePattern({ cmd: 'double' })
      async double(@Payload() data: { n: number }) {
        return { n: data.n * 2 };
      }

      @MessagePattern('maths.nothing')
      nothing() {
        return undefined;
      }

      @MessagePattern('maths.many')
      many() {
        return of(1, 2, 3);
      }
    }
    await Promise.all([site.serve('maths', [Maths]), site.serve('maths', [Maths])]);
    expect(await site.ask('maths.sum', { numbers: [1, 2, 3] })).toBe(6);
    expect(calls).toBe(1);
    expect(await site.ask({ cmd: 'double' }, { n: 4 })).toEqual({ n: 8 });
    expect(await site.ask('maths.nothing', {})).toBeNull();
    expect(await site.ask('maths.many', {})).toBe(3);
    expect(await rejection(site.ask('maths.sum', { admin: false }))).toMatchObject({ code: 'internal', message: 'Forbidden resource' });
  });

  it('fails with the error of the handler, not with a mask', async () => {
    @Controller()
    class Failing {
      @MessagePattern('fail.*')
      fail(@Payload() kind: string) {
        if (kind === 'typed') throw new JetlaneError('queue-full', 'no room', { details: { queue: 'q' } });
        if (kind === 'rpc') throw new RpcException({ code: 'out-of-stock', message: 'none left', sku: 7 });
        if (kind === 'big') return 'x'.repeat(9_000_000);
        throw new RangeError('plain');
      }
    }
    await site.serve('failing', [Failing]);
    const failure = (kind: string) => rejection(site.ask('fail.now', kind));
    expect(await failure('typed')).toMatchObject({
      code: 'queue-full',
      retryable: true,
      message: 'no room',
      details: { queue: 'q', name: 'JetlaneError' },
    });
    expect(await failure('rpc')).toMatchObject({ code: 'internal', message: 'none left', details: { code: 'out-of-stock', sku: 7 } });
    expect(await failure('plain')).toMatchObject({ code: 'internal', message: 'plain', details: { name: 'RangeError' } });
    expect(await failure('big')).toMatchObject({ code: 'payload-too-large' });
  });

  it('leaves the mask to whoever else uses it', async () => {
    class Probe extends BaseRpcExceptionFilter {
      override handleUnknownError(_: unknown, status: string) {
        return of({ status, masked: true }) as never;
      }
    }
    const answer = new Probe().catch(new Error('secret') as never, {} as never);
    expect(await firstValueFrom(answer)).toEqual({ status: 'error', masked: true });
  });

  it('that nobody answers fails by code: nobody there, or too slow', async () => {
    @Controller()
    class Slow {
      @MessagePattern('slow')
      slow() {
        return new Promise(() => undefined);
      }
    }
    await site.serve('slow', [Slow], { shutdownTimeout: 0 });
    expect(await rejection(site.ask('nobody.home', {}))).toMatchObject({ code: 'no-responders' });
    const hasty = site.open({ timeout: 150 });
    expect(await rejection(site.ask('slow', {}, hasty))).toMatchObject({ code: 'request-timeout' });
    await hasty.close();
  });
});

describe('a service', () => {
  it('goes on with the trace of whoever emits or asks, whatever propagator the application has', async () => {
    const provider = new NodeTracerProvider();
    provider.register({ propagator: null });
    const inHandler = () => {
      const { traceId, traceState } = trace.getActiveSpan()?.spanContext() ?? {};
      return { traceId, state: traceState?.serialize() };
    };
    const seen: unknown[] = [];
    @Controller()
    class Traced {
      @EventPattern<string>('traced.event')
      event() {
        seen.push(inHandler());
      }

      @MessagePattern('traced.request')
      request() {
        return inHandler();
      }
    }
    await site.serve('traced', [Traced]);
    const vendor = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1, traceState: createTraceState('vendor=here') };
    const outside = trace.setSpanContext(ROOT_CONTEXT, vendor);
    await provider.getTracer('test').startActiveSpan('inside', {}, outside, async (span) => {
      const carried = { traceId: vendor.traceId, state: 'vendor=here' };
      await site.emit('traced.event', {});
      expect(await site.ask('traced.request', {})).toEqual(carried);
      await eventually('the event is seen', () => seen.length === 1);
      expect(seen).toEqual([carried]);
      span.end();
    });
    await provider.shutdown();
    for (const api of [trace, context, propagation]) api.disable();
  });

  it('does not start with options that cannot work', async () => {
    @Controller()
    class Wrong {
      @EventPattern<string>('wrong', { retry: { attempts: 0 } })
      event() {}
    }
    expect(await rejection(site.serve('wrong', [Wrong]))).toMatchObject({ code: 'invalid-configuration' });
    expect(await rejection(site.serve('no such name', []))).toMatchObject({ code: 'invalid-configuration' });
    expect(() => site.open({ timout: '1s' } as object)).toThrow('JetStreamClient has no option "timout"; did you mean "timeout"?');
    expect((await rejection(site.serve('slip', [], { server: 'x' } as object))).message).toContain(
      'JetStreamServer has no option "server"',
    );
    const redis = { connection: { host: 'localhost' } } as object;
    expect(() => site.open(redis)).toThrow('JetStreamClient: expected connection to be an open Connection');
  });
});

describe('a service that closes', () => {
  it('finishes the events and requests in hand, and takes no more', async () => {
    const started = { event: deferred(), request: deferred() };
    const go = deferred();
    const done: unknown[] = [];
    @Controller()
    class Busy {
      @EventPattern<string>('busy.event')
      async event(@Payload() data: unknown) {
        started.event.resolve();
        await go.promise;
        done.push(data);
      }

      @MessagePattern('busy.request')
      async request() {
        started.request.resolve();
        await go.promise;
        return 'answered';
      }
    }
    const app = await site.serve('busy', [Busy]);
    await site.emit('busy.event', 1);
    const answer = site.ask('busy.request', {});
    await Promise.all([started.event.promise, started.request.promise]);
    const closing = app.close();
    await eventually('it takes no more', async () => (await rejection(site.ask('busy.request', {}))).code === 'no-responders');
    await site.emit('busy.event', 2);
    go.resolve();
    expect(await answer).toBe('answered');
    await closing;
    expect(done).toEqual([1]);
    await site.serve('busy', [Busy]);
    await eventually('the next process goes on', () => done.length === 2);
    expect(done).toEqual([1, 2]);
  });

  it('and whose connection breaks goes on reading after it is back', async () => {
    const seen: unknown[] = [];
    @Controller()
    class Steady {
      @EventPattern<string>('steady')
      any(@Payload() data: unknown) {
        seen.push(data);
      }
    }
    const app = await site.serve('steady', [Steady]);
    await site.emit('steady', 'before');
    site.installation.server.kill('SIGKILL');
    await site.installation.server.exited;
    await site.installation.server.start();
    await site.emit('steady', 'after');
    await eventually('the event after the crash is read', () => seen.includes('after'));
    expect(strategyOf(app).health()).toMatchObject([{ up: true }]);
  });
});
