import { AsyncLocalStorage } from 'node:async_hooks';
import type { ArgumentsHost } from '@nestjs/common';
import { BaseRpcExceptionFilter } from '@nestjs/microservices';
import { isObservable, lastValueFrom, throwError } from 'rxjs';

const running = new AsyncLocalStorage<true>();
let patched = false;

/**
 * Runs a handler and gives its result or its own error. NestJS's default filter would answer every error with "Internal server error"
 * before a transport sees it, and leaves no way to set another default; so the filter is told to let errors through, but only while a
 * handler of this transport runs. Filters of the application come first, as ever.
 */
export function runUnmasked(handler: () => Promise<unknown>): Promise<unknown> {
  patchDefaultFilter();
  return running.run(true, async () => {
    const result = await handler();
    return isObservable(result) ? lastValueFrom(result, { defaultValue: undefined }) : result;
  });
}

function patchDefaultFilter(): void {
  if (patched) return;
  patched = true;
  const masked = BaseRpcExceptionFilter.prototype.catch;
  BaseRpcExceptionFilter.prototype.catch = function (exception: unknown, host: ArgumentsHost) {
    return running.getStore() ? throwError(() => exception) : masked.call(this, exception as never, host);
  };
}
