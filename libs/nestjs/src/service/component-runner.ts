import type { BeforeApplicationShutdown, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import type { Component, ServiceContext } from './context.js';

/**
 * Starts the components in order and stops, in reverse, those whose start was tried; the connection is closed last, when
 * HTTP requests in flight have been answered. Nest calls the hooks.
 */
export class ComponentRunner implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown {
  private readonly started: Component[] = [];

  constructor(
    private readonly context: ServiceContext,
    private readonly components: readonly Component[],
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    for (const component of this.components) {
      this.started.push(component);
      await component.start();
    }
  }

  async beforeApplicationShutdown(): Promise<void> {
    for (let component = this.started.pop(); component; component = this.started.pop()) {
      // One component that cannot stop must not keep the others from it.
      await component
        .stop()
        .catch((error: unknown) =>
          this.context.logger.error({ err: error, component: component?.constructor.name }, 'component:stop-failed'),
        );
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.context.connection.close();
  }
}
