import {
  BatchContext,
  BatchHandler,
  getQueueToken,
  type ItemOutcome,
  JetlaneModule,
  type JetlaneOptions,
  type Queue,
  TaskContext,
  TaskData,
  TaskQueue,
} from '@jetlane/nestjs';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { z } from 'zod';

const document = z.object({ id: z.number(), text: z.string() });

/** Stands for a search engine whose bulk call takes many documents and answers for each. */
const bulk = async (documents: readonly z.infer<typeof document>[]) => documents.map(({ text }) => (text === '' ? 400 : 200));

@TaskQueue('search')
class Search {
  static log: (line: string) => void;

  // Begins with 5 documents, or 2 s after the first; at most one call per 50 ms; a failed one is tried alone again, never its neighbours.
  @BatchHandler('index', { size: 5, maxWait: '2s', minGap: '50ms', retry: { attempts: 3 } })
  async index(
    @TaskData(document) documents: readonly z.infer<typeof document>[],
    @TaskContext() batch: BatchContext,
  ): Promise<ItemOutcome<number>[]> {
    Search.log(`${documents.length} documents in one call`);
    const answers = await bulk(documents);
    return answers.map((status, i) =>
      status === 200
        ? { success: true, result: batch.tasks[i]!.attempt }
        : { success: false, error: new Error(`document ${documents[i]!.id} is empty`), retryable: false },
    );
  }
}

export async function main(log: (line: string) => void = console.log, options: JetlaneOptions = {}): Promise<void> {
  Search.log = log;
  @Module({ imports: [JetlaneModule.forRoot(options), JetlaneModule.registerQueue({ name: 'search' })], providers: [Search] })
  class AppModule {}

  const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
  const queue = app.get<Queue>(getQueueToken('search'));
  const payloads = [...['a', 'b', '', 'd', 'e'].map((text, id) => ({ id, text })), { id: 'not a number' }];
  const receipts = await Promise.all(payloads.map((data) => queue.enqueue('index', data)));
  for (const receipt of receipts) {
    const { state, result, error } = await queue.result(receipt);
    log(error ? `${state}: ${error.message}` : `${state} at attempt ${String(result)}`);
  }
  await app.close();
}
