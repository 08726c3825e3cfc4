"""urgent looks"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wake", sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    raise NotImplementedError("a database does not go back; restore the backup taken before the upgrade")
