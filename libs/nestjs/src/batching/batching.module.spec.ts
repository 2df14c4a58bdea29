import { BatchedQueue, memoryStorage } from '@jetlane/batching';
import { Injectable, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { describe, expect, it } from 'vitest';
import { BatchingModule, batchedQueueToken, InjectBatchedQueue } from './batching.module.js';

@Injectable()
class Sender {
  readonly sent: string[] = [];
}

@Module({ providers: [Sender], exports: [Sender] })
class SenderModule {}

@Injectable()
class Signup {
  constructor(@InjectBatchedQueue('mail') readonly mail: BatchedQueue<string, number>) {}
}

describe('BatchingModule', () => {
  it('gives queues whose processors use providers, and drains them at shutdown', async () => {
    const module = await Test.createTestingModule({
      imports: [
        SenderModule,
        BatchingModule.registerAsync<string, number>({
          name: 'mail',
          imports: [SenderModule],
          inject: [Sender],
          useFactory: (sender: Sender) => ({
            flushInterval: '1h',
            processor: (items: readonly string[]) => items.map((item) => ({ success: true as const, value: sender.sent.push(item) })),
          }),
        }),
      ],
      providers: [Signup],
    }).compile();
    await module.init();
    await module.get(Signup).mail.enqueue('a@example.org');
    await module.close();
    expect(module.get(Sender).sent).toEqual(['a@example.org']);
  });

  it('opens the storage at the start: what was left is processed without a new item', async () => {
    const storage = memoryStorage<string>();
    const done: string[] = [];
    const options = {
      name: 'left',
      flushInterval: 5,
      persistence: { storage },
      processor: (items: readonly string[]) => {
        done.push(...items);
        return items.map(() => ({ success: true as const }));
      },
    };
    const before = new BatchedQueue<string>(options);
    before.pause();
    await before.enqueue('waiting');
    await before.close();
    const module = await Test.createTestingModule({ imports: [BatchingModule.register<string>(options)] }).compile();
    await module.init();
    expect(module.get(batchedQueueToken('left'))).toBeInstanceOf(BatchedQueue);
    await expect.poll(() => done).toEqual(['waiting']);
    await module.close();
  });
});
