"""teams of a person"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("person", sa.Column("teams", sa.Text(), server_default="[]", nullable=False))


def downgrade() -> None:
    raise NotImplementedError("a database does not go back; restore the backup taken before the upgrade")
