import { InjectQueue, JetlaneModule, type JetlaneOptions, Queue, TaskHandler, TaskQueue } from '@jetlane/nestjs';
import { JetlaneTestingModule, jetlaneKit } from '@jetlane/testing/nestjs';
import { Injectable } from '@nestjs/common';
import { Test } from '@nestjs/testing';

@Injectable()
class Inbox {
  readonly mails: string[] = [];
}

@TaskQueue('reminders')
class Reminders {
  constructor(
    @InjectQueue('reminders') private readonly queue: Queue,
    private readonly inbox: Inbox,
  ) {}

  @TaskHandler('sign-up')
  async signUp(name: string) {
    await this.queue.enqueue('remind', name, { delay: '3d', lane: 'low' });
    return `welcome, ${name}`;
  }

  @TaskHandler('remind')
  remind(name: string) {
    this.inbox.mails.push(`still there, ${name}?`);
  }
}

/** What a test of these handlers does; in a spec the lines of log are expectations, `await expect(queue).toHaveEnqueued(…)` among them. */
export async function main(log: (line: string) => void = console.log, options: JetlaneOptions = {}): Promise<void> {
  const module = await Test.createTestingModule({
    imports: [JetlaneTestingModule.forRoot(options), JetlaneModule.registerQueue({ name: 'reminders' })],
    providers: [Reminders, Inbox],
  }).compile();
  await module.init();
  const kit = jetlaneKit(module);
  log(String(await kit.runTask('reminders', 'sign-up', 'ada')));
  const [task] = await kit.waiting('reminders');
  log(`waits: ${task?.type} for ${String(task?.data)}, ${task?.lane}, ${task?.delayed ? 'delayed' : 'now'}`);
  // Three days pass.
  await kit.drain();
  log(module.get(Inbox).mails.join());
  await module.close();
}
