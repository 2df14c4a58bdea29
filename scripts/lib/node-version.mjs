// No imports: this file must load on any Node that knows modules.
const OLDEST = [20, 19];

/** Returns a sentence when this Node is too old, else undefined. */
export function nodeProblem(version = process.versions.node) {
  const [major, minor] = version.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined;
  return `Jetlane needs Node ${OLDEST.join('.')} or newer, but this is Node ${version}. Install a newer one (nodejs.org, or "nvm install 22") and try again.`;
}
