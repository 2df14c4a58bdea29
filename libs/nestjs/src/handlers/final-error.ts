import { FatalError } from '@jetlane/protocol';
import { HttpException } from '@nestjs/common';

const FINAL_STATUS: ReadonlySet<number> = new Set([400, 422]);

/**
 * An HTTP error that says "your data is wrong" as an error that no retry follows; any other as it is. What a validation pipe throws names its
 * findings in the response.
 */
export function finalError(error: unknown): unknown {
  if (!(error instanceof HttpException) || !FINAL_STATUS.has(error.getStatus())) return error;
  const response = error.getResponse();
  const found = typeof response === 'object' && 'message' in response ? [response.message].flat() : [error.message];
  return new FatalError(found.join('; '), { code: 'payload-mismatch', cause: error, details: { issues: found } });
}
