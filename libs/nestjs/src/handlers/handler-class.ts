import type { InstanceWrapper } from '@nestjs/core/injector/instance-wrapper.js';

/** A class as far as its handlers are concerned. */
export interface HandlerClass {
  readonly name: string;
  readonly prototype: Readonly<Record<string, object>>;
}

/** The class of a provider; of one that a factory or a value gives, that of its instance. */
export function classOf({ isNotMetatype, metatype, instance }: InstanceWrapper<object>): HandlerClass | undefined {
  const type = isNotMetatype ? (instance as object | undefined)?.constructor : metatype;
  return typeof type === 'function' ? (type as unknown as HandlerClass) : undefined;
}
