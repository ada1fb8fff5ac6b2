import { readHours } from '../dataset.ts';
import type { Scenario } from '../scenario.ts';
import { makeStage } from '../stage.ts';
import { judge } from './judge.ts';
import { namesWith } from './names.ts';
import { MIN_HOURS, WEEK_HOURS } from './plan.ts';
import { playStory } from './story.ts';
import { summaryText } from './summary.ts';

/** One station, whose link gets worse, breaks, and gets better again. */
export const flaky: Scenario = {
  title: 'Causeway: hours of weather over a link that comes and goes.',
  usualRows: WEEK_HOURS,
  minRows: MIN_HOURS,
  play: async (api, narrator, server, maxRows) => {
    const stage = makeStage(server, namesWith);
    narrator.tellScope(stage.scope, Object.values(stage.types));
    const ending = await playStory(api, narrator, stage, readHours(maxRows, stage.types.hours));
    return { summary: summaryText(ending), checks: judge(ending) };
  },
};
