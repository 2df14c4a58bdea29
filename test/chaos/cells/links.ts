import { setTimeout as sleep } from 'node:timers/promises';
import type { Cell } from '../cell.js';

const noRebuild = { without: 'pulls are opened anew after a reconnect', shows: 'zombies', worker: ['re-pull'] } as const;

export const linkCut: Cell = {
  name: 'link-cut',
  breaks: "a worker's connection cut, three times",
  link: 'tcp',
  workMs: () => 20,
  fault: async (scene) => {
    for (let i = 0; i < 3; i++) {
      await scene.mark(scene.worker('w1'));
      scene.tcp!.cut();
      await sleep(500);
    }
  },
  controls: [noRebuild],
};

export const linkHalfOpen: Cell = {
  name: 'link-half-open',
  breaks: "a worker's connection half-open: nothing passes, nobody is told",
  link: 'tcp',
  workMs: () => 20,
  fault: async (scene) => {
    await scene.mark(scene.worker('w1'));
    scene.tcp!.freeze();
  },
  controls: [{ without: 'the link is pinged', shows: 'zombies', worker: ['pings'] }],
};
