import {
  getQueueToken,
  JetlaneModule,
  type JetlaneOptions,
  OnTask,
  type Queue,
  TaskContext,
  type TaskEventOf,
  TaskHandler,
  TaskQueue,
} from '@jetlane/nestjs';
import { FatalError } from '@jetlane/protocol';
import { RetryLater } from '@jetlane/worker';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** What fails is tried again; what cannot succeed is kept as a dead letter. */
export async function main(log: (line: string) => void = console.log, options: JetlaneOptions = {}): Promise<void> {
  @TaskQueue('payments')
  class Payments {
    @TaskHandler('charge', { retry: { attempts: 5, backoff: 'exponential', initialDelay: '10ms', maxDelay: '1s' }, timeout: '30s' })
    charge({ card }: { card: string }, { attempt }: TaskContext) {
      if (card === 'stolen') throw new FatalError('the card is stolen');
      if (card === 'busy' && attempt === 1) throw new RetryLater('20ms', { message: 'the bank says: in a moment' });
      if (attempt < 3) throw new Error('the bank is away');
      return `charged at attempt ${attempt}`;
    }

    @OnTask('failed')
    failed({ attempt, error }: TaskEventOf<'failed'>) {
      log(`attempt ${attempt} failed: ${error.message}`);
    }

    @OnTask('dead', { type: 'charge' })
    dead({ reason, error }: TaskEventOf<'dead'>) {
      log(`dead (${reason}): ${error.message}`);
    }
  }

  @Module({ imports: [JetlaneModule.forRoot(options), JetlaneModule.registerQueue({ name: 'payments' })], providers: [Payments] })
  class AppModule {}

  const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
  const queue = app.get<Queue>(getQueueToken('payments'));
  for (const card of ['good', 'busy', 'stolen']) {
    const { state, result, history } = await queue.result(await queue.enqueue('charge', { card }));
    log(`${card}: ${state}${result ? `, ${String(result)}` : ` after ${history.length} attempt`}`);
  }
  log(`${(await queue.stats()).dead} dead letter`);
  await app.close();
}
