import {
  getJetlaneToken,
  getOptionsToken,
  getQueueToken,
  getWorkersToken,
  type Jetlane,
  JetlaneModule,
  type JetlaneModuleOptions,
  type Queue,
  type TaskWorkers,
} from '@jetlane/nestjs';
import type { DynamicModule } from '@nestjs/common';
import { jetlaneTestOptions } from './test-server.js';

/** The part of a testing module's builder that {@link overrideJetlane} needs. */
export interface ProviderOverrides<B> {
  /** As in `@nestjs/testing`. */
  overrideProvider(token: unknown): { useFactory(options: { factory: (...args: never[]) => unknown; inject?: unknown[] }): B };
}

/** Stands in for `JetlaneModule.forRoot` in tests of single parts. */
// biome-ignore lint/complexity/noStaticOnlyClass: it mirrors JetlaneModule
export class JetlaneTestingModule {
  /** The same module on the throw-away server; see {@link jetlaneTestOptions} for what differs. */
  static forRoot({ name, global, ...options }: JetlaneModuleOptions = {}): DynamicModule {
    return JetlaneModule.forRootAsync({
      ...(name === undefined ? {} : { name }),
      ...(global === undefined ? {} : { global }),
      useFactory: () => jetlaneTestOptions(options),
    });
  }
}

/** Leads an application that imports `JetlaneModule.forRoot` itself to the throw-away server: `overrideJetlane(Test.createTestingModule(…))`. */
export function overrideJetlane<B>(builder: ProviderOverrides<B>, { name, ...options }: JetlaneModuleOptions = {}): B {
  return builder.overrideProvider(getOptionsToken(name)).useFactory({ factory: () => jetlaneTestOptions(options) });
}

/**
 * Puts another queue in the place of a registered one, such as `{ enqueue: vi.fn() }`, wherever it is injected. The queue itself stands, so
 * handlers of it are still found. @param connection its name. Default `default`
 */
export function overrideQueue<B>(builder: ProviderOverrides<B>, name: string, fake: Partial<Queue>, connection?: string): B {
  const factory = async (jetlane: Jetlane) => {
    await jetlane.queue(name);
    return fake;
  };
  return builder.overrideProvider(getQueueToken(name, connection)).useFactory({ factory, inject: [getJetlaneToken(connection)] });
}

/** Takes the workers out of an application, with whatever their handlers would need: none is looked for. @param connection its name */
export function withoutWorkers<B>(builder: ProviderOverrides<B>, connection?: string): B {
  return builder.overrideProvider(getWorkersToken(connection)).useFactory({ factory: () => new NoWorkers() });
}

/** Does nothing where the workers would do something. */
class NoWorkers implements Pick<TaskWorkers, 'queueNames' | 'worker' | 'handler' | 'register' | 'start' | 'stop'> {
  queueNames(): string[] {
    return [];
  }

  worker(): undefined {}

  handler(): undefined {}

  register(): void {}

  async start(): Promise<void> {}

  async stop(): Promise<void> {}
}
