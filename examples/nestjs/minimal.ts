import { getQueueToken, InjectQueue, JetlaneModule, type JetlaneOptions, Queue, TaskHandler, TaskQueue } from '@jetlane/nestjs';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** A queue, a handler, and a service that enqueues. */
@TaskQueue('email', { concurrency: 20 })
class EmailHandlers {
  @TaskHandler('welcome')
  async welcome({ to }: { to: string }) {
    return `sent to ${to}`;
  }
}

@Injectable()
class Signup {
  constructor(@InjectQueue('email') private readonly email: Queue) {}

  async register(to: string) {
    return this.email.enqueue('welcome', { to }, { key: `welcome-${to.replace(/\W/g, '_')}` });
  }
}

export async function main(log: (line: string) => void = console.log, options: JetlaneOptions = {}): Promise<void> {
  @Module({
    imports: [JetlaneModule.forRoot(options), JetlaneModule.registerQueue({ name: 'email' })],
    providers: [EmailHandlers, Signup],
  })
  class AppModule {}

  const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
  const receipt = await app.get(Signup).register('ada@example.org');
  log(`${receipt.id} is ${receipt.state}`);
  const again = await app.get(Signup).register('ada@example.org');
  log(`enqueued again: ${again.duplicate ? 'the first one stands' : 'twice'}`);
  const { state, result } = await app.get<Queue>(getQueueToken('email')).result(receipt);
  log(`${state}: ${String(result)}`);
  await app.close();
}
