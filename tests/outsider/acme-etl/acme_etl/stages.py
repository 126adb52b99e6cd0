from etlcore import Batch, Position, RowTransform, Source
from pydantic import BaseModel

class Count(Source):
    class Config(BaseModel):
        upto: int = 1000

    def read(self):
        first = self.context.positions.get("numbers", 0)          # where the last run was committed
        for n in range(first, self.config.upto, 100):
            rows = [{"n": i} for i in range(n, min(n + 100, self.config.upto))]
            yield Batch.from_rows(rows, position=Position("numbers", n + len(rows)))

class Double(RowTransform):
    def map(self, row):
        return {**row, "n": row["n"] * 2}
