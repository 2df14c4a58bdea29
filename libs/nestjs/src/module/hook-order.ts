import type { ModulesContainer } from '@nestjs/core';
import type { Module } from '@nestjs/core/injector/module.js';

/**
 * Where a module stands when Nest calls lifecycle hooks. Nest calls start hooks by falling distance and stop hooks by rising
 * distance, reading the distance once all providers are made; so a provider may set it in its factory.
 * `outermost`: starts first, stops last. `innermost`: starts last, stops first.
 */
export function placeHooks(modules: ModulesContainer, token: string, place: 'outermost' | 'innermost'): void {
  for (const module of holdersOf(modules, token)) module.distance = place === 'outermost' ? Number.MAX_VALUE : -1;
}

/** The modules that provide a token themselves. */
export const holdersOf = (modules: ModulesContainer, token: string): Module[] =>
  [...modules.values()].filter(({ providers }) => providers.get(token)?.isAlias === false);
