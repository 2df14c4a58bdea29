import { EXCEPTION_FILTERS_METADATA, GUARDS_METADATA, INTERCEPTORS_METADATA, PIPES_METADATA } from '@nestjs/common/constants.js';
import type { ApplicationConfig } from '@nestjs/core';

/** Which kinds of enhancers apply to a method: its own, its class's and the application's. */
export interface Enhancers {
  readonly pipes: boolean;
  readonly filters: boolean;
  /** Any at all, of these or of the other kinds. */
  readonly any: boolean;
  /** Classes among the method's and the class's own: Nest makes their instances in the module that provides the class. */
  readonly classes: readonly string[];
}

/** Looks where Nest looks. Those set by `app.useGlobal…` after the application was initialised come too late, as for controllers. */
export function enhancersOf(config: ApplicationConfig, type: object, method: object): Enhancers {
  const own = (key: string) => [type, method].flatMap((target) => (Reflect.getMetadata(key, target) as unknown[] | undefined) ?? []);
  const local = (key: string) => own(key).length > 0;
  const guards = local(GUARDS_METADATA) || config.getGlobalGuards().length + config.getGlobalRequestGuards().length > 0;
  const interceptors =
    local(INTERCEPTORS_METADATA) || config.getGlobalInterceptors().length + config.getGlobalRequestInterceptors().length > 0;
  const pipes = local(PIPES_METADATA) || config.getGlobalPipes().length + config.getGlobalRequestPipes().length > 0;
  const filters = local(EXCEPTION_FILTERS_METADATA) || config.getGlobalFilters().length + config.getGlobalRequestFilters().length > 0;
  const classes = [GUARDS_METADATA, INTERCEPTORS_METADATA, PIPES_METADATA, EXCEPTION_FILTERS_METADATA]
    .flatMap(own)
    .flatMap((enhancer) => (typeof enhancer === 'function' ? [enhancer.name] : []));
  return { pipes, filters, classes, any: guards || interceptors || pipes || filters };
}
