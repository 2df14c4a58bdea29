import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { JetlaneError } from '@jetlane/protocol';
import type { TaskData } from './inputs.js';

/** A task for the API. The key makes it safe to send the same request again, to whichever gateway. */
export interface ApiTask {
  readonly queue: string;
  readonly key: string;
  readonly type?: string;
  readonly data: TaskData;
  /** In ms. */
  readonly delay?: number;
}

interface Answer {
  readonly status: number;
  readonly code?: string;
}

const MOST_SOCKETS = 64;
/** A gateway that says nothing for so long is taken for dead. */
const SILENT_MS = 10_000;
/** Whoever gets no receipt for so long gives up; the verdict then tells. */
const PATIENCE_MS = 90_000;
const AGAIN_MS = 50;

/** A caller of the HTTP API who asks the next gateway when one does not answer, as behind a load balancer. */
export class Gateways {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: MOST_SOCKETS });
  private turn = 0;

  constructor(private readonly urls: readonly string[]) {}

  /** Resolves when the task is stored. @throws JetlaneError `queue-full`, or whatever else the API says for good */
  async enqueue(task: ApiTask): Promise<void> {
    const delay = task.delay === undefined ? undefined : `${task.delay}ms`;
    const body = JSON.stringify({ queue_name: task.queue, task_type: task.type, task_data: task.data, task_id: task.key, delay });
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const { status, code } = await this.post(body).catch((error: Error): Answer => ({ status: 0, code: error.message }));
      if (status === 202) return;
      const again = status === 0 || status >= 500 || code === 'rate-limited';
      if (!again || performance.now() > deadline) throw refusal(status, code);
      await sleep(AGAIN_MS + Math.random() * AGAIN_MS);
    }
  }

  private post(body: string): Promise<Answer> {
    const url = `${this.urls[this.turn++ % this.urls.length]}/api/queue/enqueue`;
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    return new Promise((resolve, reject) => {
      const sent = request(url, { method: 'POST', agent: this.agent, headers, timeout: SILENT_MS }, (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          text += chunk;
        });
        answer.on('error', reject);
        answer.on('end', () => resolve({ status: answer.statusCode!, ...(answer.statusCode === 202 ? {} : { code: codeOf(text) }) }));
      });
      sent.on('timeout', () => sent.destroy(new Error('the gateway is silent')));
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

function codeOf(text: string): string {
  try {
    return (JSON.parse(text) as { code: string }).code;
  } catch {
    return 'no-problem-document';
  }
}

const refusal = (status: number, code = 'unknown'): Error =>
  code === 'queue-full' ? new JetlaneError('queue-full', 'the API says that the queue is full') : new Error(`http-${status}-${code}`);
