import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Makes a certificate of its own for localhost: `<name>.crt` and `<name>.key` in the folder. */
export function makeCertificate(folder: string, name: string): { certFile: string; keyFile: string } {
  const [certFile, keyFile] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const files = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', keyFile, '-out', certFile];
  const { status, stderr } = spawnSync('openssl', [...args, ...files], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl: ${stderr}`);
  return { certFile, keyFile };
}
