/**
 * Counts the tests in the output of vitest's JSON reporter. A file that failed before its first test (an import that
 * throws, a failed beforeAll) counts as one failed test.
 */
export function countResults(json) {
  const count = { passed: 0, failed: 0, skipped: 0, skippedNames: [] };
  for (const file of JSON.parse(json).testResults) {
    let failedHere = 0;
    for (const test of file.assertionResults) {
      if (test.status === 'passed') count.passed++;
      else if (test.status === 'failed') failedHere++;
      else {
        count.skipped++;
        count.skippedNames.push(test.fullName);
      }
    }
    if (file.status === 'failed' && failedHere === 0) failedHere = 1;
    count.failed += failedHere;
  }
  return count;
}
