// The dashboard as Grafana's own types have it (@grafana/schema). model.py puts the dashboard behind this, as a literal, so
// that the compiler also complains of keys that Grafana does not know.
import type { Dashboard, DataQuery, DataSourceRef, FieldConfig, Panel, RowPanel, VariableModel } from "@grafana/schema";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON has an enumeration's values, not its members.
type Written<T> = T extends string
  ? `${T}`
  : T extends Array<infer Item>
    ? Array<Written<Item>>
    : T extends object
      ? { [Key in keyof T]: Written<T[Key]> }
      : T;

// What a query to Prometheus has on top of any other.
interface Target extends DataQuery {
  datasource: DataSourceRef;
  expr: string;
  legendFormat: string;
}

interface Shown<Type extends string, Options, Custom>
  extends Omit<Panel, "type" | "options" | "fieldConfig" | "targets" | "datasource"> {
  type: Type;
  datasource: DataSourceRef;
  options: Options;
  fieldConfig: { defaults: Omit<FieldConfig, "custom"> & { custom?: Custom }; overrides: [] };
  targets: Array<Target>;
}

type AnyPanel =
  | RowPanel
  | Shown<"stat", Partial<stat.Options>, Record<string, never>>
  | Shown<"timeseries", Partial<timeseries.Options>, timeseries.FieldConfig>;

type Board = Written<
  Omit<Dashboard, "panels" | "templating"> & {
    panels: Array<AnyPanel>;
    templating: { list: Array<VariableModel & { datasource: DataSourceRef }> };
  }
>;

