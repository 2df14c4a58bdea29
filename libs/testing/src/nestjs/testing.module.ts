import { getOptionsToken, JetlaneModule, type JetlaneModuleOptions } from '@jetlane/nestjs';
import type { DynamicModule } from '@nestjs/common';
import { jetlaneTestOptions } from './test-server.js';

/** The part of a testing module's builder that {@link overrideJetlane} needs. */
export interface ProviderOverrides<B> {
  /** As in `@nestjs/testing`. */
  overrideProvider(token: unknown): { useFactory(options: { factory: () => unknown }): B };
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
