import { readDataset } from '../dataset.ts';
import type { Scenario } from '../scenario.ts';
import { makeStage } from '../stage.ts';
import { judge } from './judge.ts';
import { namesWith } from './names.ts';
import { MIN_ROWS } from './plan.ts';
import { playStory } from './story.ts';
import { summaryText } from './summary.ts';

/** Two stations, one of which works offline and comes back. */
export const stations: Scenario = {
  title: 'Causeway: three edge nodes, one cloud, and some years of weather.',
  usualRows: Number.MAX_SAFE_INTEGER,
  minRows: MIN_ROWS,
  play: async (api, narrator, server, maxRows) => {
    const stage = makeStage(server, namesWith);
    narrator.tellScope(stage.scope, Object.values(stage.types));
    const ending = await playStory(api, narrator, stage, readDataset(maxRows, stage.types));
    return { summary: summaryText(ending, narrator.chapters), checks: judge(ending) };
  },
};
