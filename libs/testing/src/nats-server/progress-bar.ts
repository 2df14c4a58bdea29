const WIDTH = 24;

/** A bar that grows on a terminal and stays silent everywhere else. */
export interface ProgressBar {
  add(bytes: number): void;
  end(): void;
}

/** `total` in bytes; 0 or NaN when it is not known. */
export function progressBar(label: string, total: number, stream: NodeJS.WriteStream = process.stderr): ProgressBar {
  if (!stream.isTTY) return { add: () => undefined, end: () => undefined };
  let bytes = 0;
  let drawn = '';
  return {
    add(count) {
      bytes += count;
      const line = render(label, bytes, total);
      if (line !== drawn) stream.write(`\r${line}`);
      drawn = line;
    },
    end: () => void stream.write('\r\u001b[K'),
  };
}

/** One line of progress, e.g. `nats-server 2.15.1 [######------] 50 %`. */
export function render(label: string, bytes: number, total: number): string {
  const megabytes = `${(bytes / 1e6).toFixed(1)} MB`;
  if (!(total > 0)) return `  ${label} ${megabytes}`;
  const ratio = Math.min(1, bytes / total);
  const filled = Math.round(ratio * WIDTH);
  return `  ${label} [${'#'.repeat(filled)}${'-'.repeat(WIDTH - filled)}] ${Math.round(ratio * 100)} %`;
}
