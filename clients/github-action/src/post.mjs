// After the job: the files go. The grant ends by itself; the broker has no way yet to take it back sooner.

import { rmSync } from 'node:fs';

const folder = process.env.STATE_folder;
if (folder) {
  rmSync(folder, { force: true, recursive: true });
  console.log('removed   the credential\'s files; the grant ends by itself');
}
