// The report's style sheet. Colours are told apart by those who see few, too: blue for shardswarm
// and what is received, orange for what is sent, grey for rivals.
#pragma once

namespace shardswarm::bench {

inline constexpr const char* kStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #16202b; --soft: #5a6673; --rule: #dfe4e9; --wash: #f4f6f8;
  --ours: #0b67b2; --rival: #b3bcc6; --dot: #16202b; --bound: #b3261e; --sent: #c75300;
  --area: #8dbde3; --cold: #eef4fa; --hot: #083f70; --on-cold: #000; --on-hot: #fff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12171d; --ink: #e6ebf0; --soft: #9aa7b4; --rule: #2c3641; --wash: #1a2129;
    --ours: #4ba3ea; --rival: #55616d; --dot: #f5f8fa; --bound: #ff8a80; --sent: #ff9d52;
    --area: #2f6a9c; --cold: #18222c; --hot: #5aa9e6; --on-cold: #fff; --on-hot: #000;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 0 0 6px; }
h2 { font-size: 19px; line-height: 1.3; font-weight: 650; letter-spacing: -.005em; margin: 52px 0 4px; }
h3 { font-size: 15px; font-weight: 650; margin: 22px 0 4px; }
p { margin: 0 0 10px; max-width: 46em; overflow-wrap: anywhere; }
.conclusion { font-size: 18px; line-height: 1.45; max-width: 44em; margin: 10px 0 12px; }
.facts { color: var(--soft); }
.facts > span { white-space: nowrap; }
.facts > span:not(:last-child)::after { content: " ·"; }
.note, small, .kind, .legend { color: var(--soft); font-size: 13px; font-weight: 400; }
.note { max-width: 62em; }
.none { color: var(--soft); }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px;
  margin: 26px 0 0; padding: 0; background: var(--rule); border: 1px solid var(--rule);
  border-radius: 8px; overflow: hidden;
}
.tiles div { background: var(--paper); padding: 14px 18px 13px; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 0; font-size: 26px; line-height: 1.25; font-weight: 600; letter-spacing: -.01em; }
.tiles dd small { display: block; letter-spacing: 0; line-height: 1.4; }
table { border-collapse: collapse; width: 100%; }
th { font-weight: 400; text-align: left; }
thead th { color: var(--soft); font-size: 13px; }
.num { text-align: right; white-space: nowrap; }
.scroll { overflow-x: auto; margin: 8px 0 4px; }

.bars { margin-top: 14px; }
.bars th[scope=col] { text-align: right; white-space: nowrap; padding: 0 0 6px 18px; vertical-align: bottom; }
.bars tbody th { width: 12.5em; padding: 0 16px 0 0; line-height: 1.25; overflow-wrap: anywhere; }
.bars tbody th small { display: block; font-size: 12px; line-height: 1.3; }
.bars .plot { padding: 0; vertical-align: middle; }
.bars thead .plot div { position: relative; height: 22px; }
.bars .num { padding-left: 18px; }
.bars .main, .ours b { font-weight: 650; }
.rival b { font-weight: 500; }
.bound-label { position: absolute; bottom: 2px; white-space: nowrap; color: var(--bound); font-size: 13px; }
.bound-label.before { transform: translateX(-100%); padding-right: 4px; }
.bound-label.after { padding-left: 4px; }
svg.bar { display: block; width: 100%; height: 38px; overflow: visible; }
.bar .grid { stroke: var(--rule); stroke-width: 1; }
.bar .made { fill: var(--rival); }
.ours .bar .made { fill: var(--ours); }
.bar .bound { fill: var(--bound); y: -11px; height: 60px; }
.bar .spread { stroke: var(--dot); stroke-width: 1.5; }
.bar circle { fill: var(--paper); stroke: var(--dot); stroke-width: 1.5; }

details { border-top: 1px solid var(--rule); }
details:last-of-type { border-bottom: 1px solid var(--rule); }
summary { cursor: pointer; padding: 9px 2px; font-weight: 600; }
summary small { margin-left: .5em; }
details > :last-child:not(summary) { margin-bottom: 16px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 8px 0 2px; }
.key::before {
  content: ""; display: inline-block; width: 18px; height: 10px; margin-right: 7px; vertical-align: -1px;
}
.key.received::before { background: var(--area); border-top: 1.5px solid var(--ours); }
.key.sent::before { border-top: 2px solid var(--sent); height: 5px; vertical-align: 1px; }
.key.link::before { border-top: 1.5px dashed var(--soft); height: 5px; vertical-align: 1px; }
.key.done::before { border-left: 1.5px solid var(--ink); width: 6px; height: 12px; }
.axis { color: var(--soft); font-size: 12px; line-height: 1.25; }
.axis span { position: absolute; white-space: nowrap; }
.axis.below { position: relative; height: 18px; }
.axis.below span { top: 2px; transform: translateX(-50%); }
.axis.below .first { transform: none; }
.axis.below .last { transform: translateX(-100%); }
.axis.beside { position: absolute; left: 0; top: 19px; height: 84px; width: 36px; }
.axis.beside span { right: 0; transform: translateY(50%); }
.nodes { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 18px 22px; padding: 4px 0; }
.node .plot { position: relative; padding-left: 42px; }
.node .unit { display: block; font-size: 12px; line-height: 16px; margin-left: -42px; }
.node { margin: 0; min-width: 0; }
.node figcaption { display: flex; justify-content: space-between; gap: 10px; font-size: 13px; }
.node b { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.node figcaption span { color: var(--soft); white-space: nowrap; }
.node svg { display: block; width: 100%; height: 84px; margin-top: 3px; border-bottom: 1px solid var(--soft); overflow: hidden; }
.node path { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.node .grid { stroke: var(--rule); stroke-width: 1; }
.node .received { fill: var(--area); stroke: var(--ours); }
.node .sent { stroke: var(--sent); stroke-width: 2; }
.node .link { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; }
.node .done { stroke: var(--ink); }

.origin { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 6px 20px; margin: 12px 0 18px; }
.origin dt { color: var(--soft); }
.origin dd { margin: 0; overflow-wrap: anywhere; }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }

.exchange { width: auto; font-size: 13px; border-collapse: separate; border-spacing: 2px; }
.exchange th, .exchange td { padding: 5px 8px; }
.exchange thead th { text-align: center; vertical-align: bottom; }
.exchange.upright thead span {
  writing-mode: vertical-rl; transform: rotate(180deg); max-height: 11em; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap;
}
.exchange tbody th, .exchange tfoot th { white-space: nowrap; max-width: 14em; overflow: hidden; text-overflow: ellipsis; }
.exchange .corner { color: var(--soft); vertical-align: bottom; white-space: nowrap; }
.exchange tbody td { text-align: right; min-width: 4.2em; height: 2.3em; border-radius: 2px; }
.exchange .heat { background: color-mix(in oklab, var(--hot) var(--v), var(--cold)); color: var(--on-cold); }
.exchange .deep { color: var(--on-hot); }
.exchange .zero { background: var(--cold); }
.exchange .self { background: none; }
.exchange td.total { text-align: right; background: none; color: var(--soft); }
.exchange.dense { font-size: 11px; }
.exchange.dense thead th, .exchange.dense tfoot td { padding: 2px; }
.exchange.dense tbody td:not(.total) { min-width: 12px; width: 12px; height: 12px; padding: 0; font-size: 0; }

.data { font-size: 14px; }
.data th, .data td { padding: 6px 0 6px 22px; border-top: 1px solid var(--rule); }
.data thead th { border-top: 0; text-align: right; vertical-align: bottom; padding-bottom: 4px; white-space: nowrap; }
.data thead td { border: 0; }
.data thead tr:first-child th[colspan] { text-align: right; padding-bottom: 0; color: var(--ink); }
.data th:first-child, .data thead tr:first-child th:first-child { padding-left: 0; text-align: left; white-space: nowrap; }
.settings { table-layout: fixed; }
.settings th:first-child:not([scope=col]) { white-space: normal; }
.settings th:not(:first-child) { width: 126px; }
.settings th:nth-child(2) { width: 88px; }
.settings th:nth-child(3) { width: 58px; }
.data .best, .data tr.best .n { font-weight: 650; }
.data tr.best th { font-weight: 650; }
.mark {
  margin-left: 6px; padding: 1px 7px; border-radius: 9px; background: var(--ours); color: var(--paper);
  font-size: 12px; font-weight: 600;
}
.failed { padding-left: 1.2em; overflow-wrap: anywhere; }
footer { margin-top: 56px; padding-top: 12px; border-top: 1px solid var(--rule); color: var(--soft); font-size: 13px; }

@media (max-width: 700px) {
  main { padding: 24px 16px 48px; }
  h1 { font-size: 25px; }
  h2 { margin-top: 40px; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tiles div:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .tiles div { padding: 11px 13px; }
  .tiles dd { font-size: 22px; }
  .bars, .bars tbody, .bars thead, .bars tfoot { display: block; }
  .bars tr { display: grid; grid-template-columns: 1fr 4.9em 4em 5.6em; align-items: end; }
  .bars td:empty { display: none; }
  .bars tbody tr { padding-top: 8px; }
  .bars tbody th { width: auto; padding: 0; }
  .bars .plot { grid-row: 2; grid-column: 1 / -1; }
  .bars th[scope=col] { padding: 0 0 0 8px; font-size: 12px; line-height: 1.25; white-space: normal; }
  .bar .bound { y: 0; height: 38px; }
  .bars thead th:nth-child(3) { grid-column: 2; }
  .bars .num { padding: 0; }
  .nodes { grid-template-columns: 1fr; gap: 14px 14px; }
  .exchange { font-size: 11px; border-spacing: 1px; }
  .exchange .corner { white-space: normal; }
  .exchange thead th { font-size: 11px; line-height: 1.25; }
  .settings { table-layout: auto; }
  .settings th:first-child:not([scope=col]) { min-width: 13em; }
  .settings th:not(:first-child) { width: auto; }
  .exchange th, .exchange td { padding: 3px; }
  .exchange tbody td { min-width: 2.5em; }
}
@media print { details { break-inside: avoid; } }
)css";

}  // namespace shardswarm::bench
