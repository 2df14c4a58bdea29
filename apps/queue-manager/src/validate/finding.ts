/** What one check found. */
export interface Finding {
  readonly check: 'connection' | 'server' | 'definitions' | 'streams' | 'limits' | 'sla' | 'probe';
  /** `error`: something does not work; `warning`: it does, and somebody should look. */
  readonly level: 'ok' | 'warning' | 'error';
  readonly message: string;
  /** What to do about it. */
  readonly fix?: string;
}

export const ok = (check: Finding['check'], message: string): Finding => ({ check, level: 'ok', message });
export const warning = (check: Finding['check'], message: string, fix: string): Finding => ({ check, level: 'warning', message, fix });
export const failure = (check: Finding['check'], message: string, fix: string): Finding => ({ check, level: 'error', message, fix });

/** Findings as lines for people. */
export function report(findings: readonly Finding[]): string {
  const lines = findings.map(({ check, level, message, fix }) => {
    const mark = { ok: 'ok     ', warning: 'WARNING', error: 'ERROR  ' }[level];
    return `${mark} ${check.padEnd(12)} ${message}${fix ? `\n${' '.repeat(21)}fix: ${fix}` : ''}`;
  });
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  return [...lines, '', `${count('error')} errors, ${count('warning')} warnings, ${count('ok')} checks fine`].join('\n');
}
