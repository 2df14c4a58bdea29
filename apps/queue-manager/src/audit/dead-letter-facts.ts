import type { ServiceContext } from '@jetlane/nestjs/service';
import { JetStreamContext } from '@jetlane/nestjs/transport';
import { deadLetterFactSchema, FatalError } from '@jetlane/protocol';
import { Controller, type DynamicModule, Inject, Module } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import { Audit } from './audit.js';

/**
 * Keeps what operators did to dead letters, which the resiliency service tells as events. They wait while no queue-manager runs, and one
 * that is read twice is kept once, by its place in the stream.
 */
@Controller()
export class DeadLetterFacts {
  constructor(@Inject(Audit) private readonly audit: Audit) {}

  /** @throws FatalError for data that no service of ours sent: it becomes a dead event */
  @EventPattern<string>('dead-letters.*', { from: 'all' })
  async keep(@Payload() data: unknown, @Ctx() context: JetStreamContext): Promise<void> {
    const fact = deadLetterFactSchema.safeParse(data);
    if (!fact.success) throw new FatalError(`"${context.getSubject()}" is no fact about dead letters: ${fact.error.message}`);
    const { at, caller, target, result } = fact.data;
    await this.audit.record({ at, caller, command: context.getSubject(), target, after: result }, `event-${context.getSequence()}`);
  }
}

@Module({})
class AuditModule {}

/** The part of the service that reads the events of others. */
export function auditModule({ connection }: Pick<ServiceContext, 'connection'>): DynamicModule {
  return {
    module: AuditModule,
    controllers: [DeadLetterFacts],
    providers: [{ provide: Audit, useFactory: () => Audit.open(connection) }],
  };
}
