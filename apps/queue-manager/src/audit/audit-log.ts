import type { Connection } from '@jetlane/jetstream';
import { serveRegistered } from '@jetlane/nestjs/service';
import { AUDIT_COMMANDS } from '@jetlane/protocol';
import { Audit } from './audit.js';

/** Answers who did what. */
export class AuditLog {
  private stopServing: () => void = () => undefined;

  constructor(private readonly connection: Connection) {}

  async start(): Promise<void> {
    const audit = await Audit.open(this.connection);
    this.stopServing = serveRegistered(this.connection, AUDIT_COMMANDS.list, (input) => audit.list(input));
    await this.connection.flush();
  }

  async stop(): Promise<void> {
    this.stopServing();
  }
}
