import { JetlaneError } from '@jetlane/protocol';
import { BadRequestException, Controller } from '@nestjs/common';
import { MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { TransportSite } from './nestjs-transport-fixture.js';

let site: TransportSite;
beforeAll(async () => {
  site = await TransportSite.open('transport-answers');
});
afterAll(() => site.close());

function circular(): Record<string, unknown> {
  const data: Record<string, unknown> = { code: 'out-of-stock', message: 'none left' };
  data.self = data;
  return data;
}

const THROWN: Readonly<Record<string, () => unknown>> = {
  rpc: () => new RpcException(circular()),
  bigint: () => ({ n: 1n }),
  details: () => new JetlaneError('queue-full', 'no room', { details: { n: 1n } }),
  symbol: () => new BadRequestException({ message: [Symbol('no text')] }),
  hostile: () => Object.defineProperty(new Error('x'), 'message', { get: () => expect.unreachable('read') }),
};

describe('an answer', () => {
  it('comes whatever the handler throws or returns, also what JSON refuses', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    @Controller()
    class Odd {
      @MessagePattern('odd.throw')
      throw(@Payload() kind: string) {
        throw THROWN[kind]!();
      }

      @MessagePattern('odd.return')
      return() {
        return { n: 1n };
      }
    }
    await site.serve('odd', [Odd]);
    const failure = (kind: string) => rejection(site.ask('odd.throw', kind));
    expect(await failure('rpc')).toMatchObject({ code: 'internal', message: 'none left', details: { code: 'out-of-stock' } });
    expect(await failure('bigint')).toMatchObject({ code: 'internal', message: expect.stringContaining('JSON') });
    expect(await failure('details')).toMatchObject({ code: 'queue-full', message: 'no room', details: { name: 'JetlaneError' } });
    expect(await failure('symbol')).toMatchObject({ code: 'internal' });
    expect(await failure('hostile')).toMatchObject({ code: 'internal' });
    expect(await rejection(site.ask('odd.return', {}))).toMatchObject({ code: 'internal', message: expect.stringContaining('BigInt') });
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });
});
